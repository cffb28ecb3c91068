"""Losses, scores and curves beyond the six papers, each in a few lines.

- ``norm_losses``: ELogitNorm, T2FNorm and LogitClip; ``target_losses``: MbLS, label smoothing, focal loss and outlier
  exposure. Their recipes are in ``losses.BEYOND`` of the core, and they train with ``Config(loss="elogitnorm")``.
- ``logit_scores``: GEN and the maximum logit over the p-norm; ``scores.BEYOND`` of the core.
- ``feature_scores``: ReAct, SCALE, ASH-S, fDBD, NCI, ViM, NECO, MaxCosine, feature norm, Mahalanobis++ and the relative
  Mahalanobis distance.
- ``collapse``, ``risk``: neural collapse per epoch, and risk-coverage curves.

Left out, since they need more than fifteen lines here: AdaSCALE, WeiPer and NAC, which need a second pass, random
copies of the weights or several layers; CIDER and ISH, which need their own training loops; RegMixup, which is below
the baseline on CIFAR-10's public leaderboard. Detectors of vision-language models (MCM) need networks of a size that
no laptop trains.
"""

"""Default settings of the image sets, and the papers' protocols as their public code has them."""

# Default settings by image set: a laptop's network for the small sets, a ResNet-18 for the others.
COSINE = dict(schedule="cosine", warmup=0.0)
LAPTOP = COSINE | dict(model="cnn", epochs=60, batch_size=32, lr=0.1, weight_decay=5e-4, augment="none")
STANDARD = COSINE | dict(model="resnet18", epochs=30, batch_size=128, lr=0.1, weight_decay=5e-4, augment="crop_flip")
# The default settings of the network for 32-pixel photographs: few steps, and a weight decay that acts. Its rates
# follow airbench94, which divides logits by 9: without that, the classifier needs a smaller rate than the rest. Groups
# of parameters with rates of their own have the same product of rate and decay.
PHOTOGRAPHS = dict(
    model="airbench",
    epochs=16,
    batch_size=512,
    lr=0.4,
    head_lr=0.05,
    norm_bias_lr=12.8,
    weight_decay=2e-3,
    ema_decay=0.99,
    schedule="triangular",
    warmup=0.2,
    augment="shift_flip",
)
LESSON = {
    "digits": LAPTOP,
    "folder": LAPTOP | {"model": "cnn_auto"},  # by the size of its images
    "torch": LAPTOP | {"model": "cnn_auto"},
    "mnist": LAPTOP | {"model": "cnn5", "epochs": 5},
    "fashion_mnist": LAPTOP | {"model": "cnn5", "epochs": 5},
    "kmnist": LAPTOP | {"model": "cnn5", "epochs": 5},
}

_CIFAR = dict(data="cifar10", lr=0.1, momentum=0.9, augment="crop_flip")
_ISOMAX = _CIFAR | dict(
    model="densenet_bc_100_12",
    epochs=300,
    batch_size=64,
    nesterov=True,
    weight_decay=1e-4,
    schedule="steps",
    milestones=(150, 200, 250),
)
PRESETS = {
    "logitnorm": _CIFAR
    | dict(
        loss="logitnorm",
        loss_options={"temperature": 0.04},
        model="wrn_40_2",
        dropout=0.3,
        epochs=200,
        batch_size=128,
        nesterov=False,
        weight_decay=5e-4,
        schedule="steps",
        milestones=(80, 140),
        ood=("textures", "places365", "svhn", "lsun_crop", "lsun_resize", "isun"),
    ),
    "openood": _CIFAR
    | dict(
        loss="logitnorm",
        loss_options={"temperature": 0.04},
        model="resnet18",
        epochs=100,
        batch_size=128,
        nesterov=True,
        weight_decay=5e-4,
        schedule="cosine",
        ood=("cifar100", "tiny_imagenet", "mnist", "svhn", "textures", "places365"),
    ),
    "isomax": _ISOMAX | dict(loss="isomaxplus", ood=("tinyimagenet_resize", "lsun_resize", "svhn")),
    "dismax": _ISOMAX | dict(loss="dismax_fpr", ood=("cifar100", "tinyimagenet_resize", "lsun_resize", "svhn")),
    "dismax-imagenet": dict(
        data="imagenet",
        loss="dismax_fpr",
        model="resnet18_224",
        epochs=90,
        batch_size=256,
        lr=0.1,
        nesterov=True,
        weight_decay=1e-4,
        schedule="steps",
        milestones=(30, 60),
        augment="resized_crop",
        ood=("imagenet_o",),
    ),
    "meln": dict(
        data="folder:images",
        loss="meln",
        model="resnet50_pretrained",
        epochs=50,
        batch_size=32,
        lr=0.01,
        head_lr=0.2,
        nesterov=False,
        weight_decay=0.0,
        schedule="steps",
        milestones=(10, 20, 30, 40),
        augment="none",
        fold=0,
        ood=("patches",),
    ),
}

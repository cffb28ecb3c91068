// Numbers in sentences, as formats.py writes them in Python.

export const formatFixed = (value, digits = 3) => value.toFixed(digits).replace("-", "−");

export const formatPercent = (share, digits = 1) => `${formatFixed(100 * share, digits)} %`;

/** A confidence, which is never rounded up to certainty. */
export const formatConfidence = (share) => (share > 0.999 ? "> 99.9 %" : formatPercent(share));

/** Three decimals: fewer if the number is large, more if three would round a probability up to 1. */
export function formatScore(value) {
  if (value > 0.9995 && value < 1) return formatFixed(value, Math.ceil(-Math.log10(1 - value)));
  return formatFixed(value, Math.abs(value) >= 100 ? 1 : Math.abs(value) >= 10 ? 2 : 3);
}

/** Sign and two significant digits; below 5e-7, a rounding error, it is 0. */
export function formatSigned(value) {
  if (Math.abs(value) < 5e-7) return "0";
  const exponent = Number(Math.abs(value).toExponential(1).split("e")[1]);
  return `${value < 0 ? "−" : "+"}${formatFixed(Math.abs(value), Math.max(0, 1 - exponent))}`;
}

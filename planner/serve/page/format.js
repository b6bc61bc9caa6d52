// Figures as the other reports print them: the document's numbers, rounded and never worked out anew.
const GIB = 2 ** 30;

// As Python rounds: the number that is there, not the shortest text that stands for it.
function fixed(value, places) {
  const [whole, rest] = value.toFixed(places).split('.');
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, ',');
  return rest ? `${grouped}.${rest}` : grouped;
}

function figures(value) {
  if (value === 0) return '0';
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return fixed(value, Math.min(digits, 4));
}

export function usd(value) {
  if (value === 0) return '$0';
  if (Math.abs(value) < 0.01) return '$' + Number(value.toPrecision(2));
  return '$' + fixed(value, Math.abs(value) < 1000 ? 2 : 0);
}

export const hours = (value) => figures(value);
export const gib = (bytes) => figures(bytes / GIB);
export const share = (value) => `${Math.round(100 * value)} %`;
export const count = (value) => Number(value).toLocaleString('en-US');

// What the whole range of an estimate is, in one unit.
export const between = (print, estimate) => `${print(estimate.p10)} to ${print(estimate.p90)}`;

export function strategy(option) {
  const name = option.strategy.replaceAll('_', ' ');
  return option.variant ? `${name} (${option.variant})` : name;
}

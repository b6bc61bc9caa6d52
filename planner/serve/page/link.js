// The question and the address of the page are the same thing: a link holds the whole question.
export const LISTS = new Set(['strategy']);

export function read(search = location.search) {
  const question = {};
  for (const [name, value] of new URLSearchParams(search)) {
    if (value === '') continue;
    if (LISTS.has(name)) question[name] = value.split(',').filter(Boolean);
    else question[name] = value;
  }
  return question;
}

export function query(question) {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(question)) {
    if (value === undefined || value === null || value === '') continue;
    if (Array.isArray(value) && value.length === 0) continue;
    parameters.set(name, Array.isArray(value) ? value.join(',') : String(value));
  }
  return parameters.toString();
}

export function write(question) {
  history.replaceState(null, '', '?' + query(question));
}

// The same question on the command line, quoted for a shell.
export function command(question) {
  const words = ['planner', 'estimate', quoted(question.model ?? '')];
  for (const [name, value] of Object.entries(question)) {
    if (name === 'model' || value === '' || value === undefined) continue;
    for (const one of Array.isArray(value) ? value : [value]) {
      words.push('--' + name.replaceAll('_', '-'), quoted(String(one)));
    }
  }
  return words.join(' ');
}

function quoted(text) {
  return /^[\w.,:/@%+-]+$/.test(text) ? text : `'${text.replaceAll("'", `'"'"'`)}'`;
}

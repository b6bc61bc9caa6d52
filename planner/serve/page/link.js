// The question and the address of the page are the same thing: a link holds the whole question.
export const LISTS = new Set(['strategy']);
// Several by repetition; one of them may hold commas of its own.
const REPEATED = new Set(['licences', 'lora_targets', 'lora_exclude', 'lora_layers', 'lora_layers_pattern',
  'lora_modules_to_save', 'lora_rank_pattern', 'offload']);
const SWITCHES = new Set(['spot', 'compile', 'group_by_length', 'cached_features', 'evaluation_keeps_logits',
  'evaluation_generates', 'prepared', 'prior_preservation', 'data_must_stay', 'optimizer_in_backward',
  'teacher_writes']);

export function read(search = location.search) {
  const question = {};
  for (const [name, value] of new URLSearchParams(search)) {
    if (value === '') continue;
    if (LISTS.has(name)) question[name] = [...new Set([...(question[name] ?? []), ...value.split(',').filter(Boolean)])];
    else if (REPEATED.has(name) && name in question) question[name] = [question[name], value].flat();
    else question[name] = value;
  }
  return question;
}

export function query(question) {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(question)) {
    if (value === undefined || value === null || value === '') continue;
    if (Array.isArray(value) && value.length === 0) continue;
    if (REPEATED.has(name)) for (const one of [value].flat()) parameters.append(name, String(one));
    else parameters.set(name, Array.isArray(value) ? value.join(',') : String(value));
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
    const flag = name.replaceAll('_', '-');
    if (SWITCHES.has(name)) words.push((/^(true|1|yes|on)$/i.test(value) ? '--' : '--no-') + flag);
    else for (const one of [value].flat()) words.push('--' + flag, quoted(String(one)));
  }
  return words.join(' ');
}

export function quoted(text) {
  return /^[\w.,:/@%+-]+$/.test(text) ? text : `'${text.replaceAll("'", `'"'"'`)}'`;
}

// Patterns of events, as webhook_configurations.events has them: * stands for any characters.

// Piece by piece: a pattern is anybody's text, and a regular expression made of it could take for ever.
export function matchesPattern(pattern, name) {
  const [first, ...rest] = pattern.split('*');
  if (rest.length === 0) return pattern === name;
  if (!name.startsWith(first)) return false;
  let at = first.length;
  const last = rest.pop();
  for (const piece of rest) {
    const found = name.indexOf(piece, at);
    if (found < 0) return false;
    at = found + piece.length;
  }
  return name.length - last.length >= at && name.endsWith(last);
}

export const matchesAny = (patterns, name) => patterns.some((pattern) => matchesPattern(pattern, name));

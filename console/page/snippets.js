// Made by console/make_snippets.mjs from docs/receivers.md: change that page, then run it.

// Receivers that verify, as test/t/022_receivers.pl runs them: [{language, code}].
export const receivers = [
  {
    "language": "Node",
    "code": "// WEBHOOK_SECRET=whsec_… PORT=8080 node receiver.mjs\nimport { createHmac, timingSafeEqual } from 'node:crypto';\nimport { createServer } from 'node:http';\n\nconst secret = process.env.WEBHOOK_SECRET;\nif (!secret) throw new Error('WEBHOOK_SECRET is not set');\nconst seen = new Set(); // in production a table: see \"Deduplicate\"\n\nfunction equal(a, b) {\n  const [left, right] = [Buffer.from(a), Buffer.from(b)];\n  return left.length === right.length && timingSafeEqual(left, right);\n}\n\nfunction standard(headers, body) {\n  const { 'webhook-id': id, 'webhook-timestamp': time, 'webhook-signature': signatures = '' } = headers;\n  if (!(Math.abs(Date.now() / 1000 - time) <= 300)) return false;\n  const key = secret.startsWith('whsec_') ? Buffer.from(secret.slice(6), 'base64') : secret;\n  const expected = 'v1,' + createHmac('sha256', key).update(`${id}.${time}.`).update(body).digest('base64');\n  return signatures.split(' ').some((signature) => equal(signature, expected));\n}\n\nfunction github(headers, body) {\n  const expected = 'sha256=' + createHmac('sha256', secret).update(body).digest('hex');\n  return equal(headers['x-webhook-signature'] ?? '', expected);\n}\n\nconst isGenuine = standard; // or github\n\nasync function receive(request) {\n  if (request.method !== 'POST') return 405;\n  const chunks = [];\n  for await (const chunk of request) chunks.push(chunk);\n  const body = Buffer.concat(chunks);\n  if (!isGenuine(request.headers, body)) return 401;\n  const id = request.headers['webhook-id'];\n  if (!seen.has(id)) {\n    seen.add(id);\n    setImmediate(work, id, JSON.parse(body));\n  }\n  return 204;\n}\n\nfunction work(id, event) {\n  console.log('received', id, event.event);\n}\n\ncreateServer((request, response) => {\n  receive(request)\n    .catch(() => 400)\n    .then((status) => response.writeHead(status).end());\n}).listen(process.env.PORT, '127.0.0.1');"
  },
  {
    "language": "Python",
    "code": "# WEBHOOK_SECRET=whsec_… PORT=8080 python3 receiver.py\nimport base64, hashlib, hmac, json, os, queue, sys, threading, time\nfrom http.server import BaseHTTPRequestHandler, ThreadingHTTPServer\n\nsecret = os.environ.get(\"WEBHOOK_SECRET\") or sys.exit(\"WEBHOOK_SECRET is not set\")\nseen = set()  # in production a table: see \"Deduplicate\"\ntodo = queue.Queue()\n\n\ndef equal(a, b):\n    return hmac.compare_digest(a.encode(), b.encode())\n\n\ndef standard(headers, body):\n    id, sent_at = headers.get(\"webhook-id\", \"\"), headers.get(\"webhook-timestamp\", \"\")\n    if not sent_at.isdecimal() or abs(time.time() - float(sent_at)) > 300:\n        return False\n    key = base64.b64decode(secret[6:]) if secret.startswith(\"whsec_\") else secret.encode()\n    signed = f\"{id}.{sent_at}.\".encode() + body\n    expected = \"v1,\" + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()\n    return any(equal(s, expected) for s in headers.get(\"webhook-signature\", \"\").split(\" \"))\n\n\ndef github(headers, body):\n    expected = \"sha256=\" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()\n    return equal(headers.get(\"X-Webhook-Signature\", \"\"), expected)\n\n\nis_genuine = standard  # or github\n\n\nclass Receiver(BaseHTTPRequestHandler):\n    timeout = 5\n\n    def do_POST(self):\n        body = self.rfile.read(int(self.headers.get(\"Content-Length\", 0)))\n        genuine = is_genuine(self.headers, body)\n        id = self.headers.get(\"webhook-id\")\n        if genuine and id not in seen:\n            seen.add(id)\n            todo.put((id, json.loads(body)))\n        self.send_response(204 if genuine else 401)\n        self.end_headers()\n\n\ndef work():\n    while True:\n        id, event = todo.get()\n        print(\"received\", id, event[\"event\"], flush=True)\n\n\nthreading.Thread(target=work, daemon=True).start()\nThreadingHTTPServer((\"127.0.0.1\", int(os.environ[\"PORT\"])), Receiver).serve_forever()"
  },
  {
    "language": "Go",
    "code": "// WEBHOOK_SECRET=whsec_… PORT=8080 go run receiver.go\npackage main\n\nimport (\n\t\"crypto/hmac\"\n\t\"crypto/sha256\"\n\t\"encoding/base64\"\n\t\"encoding/hex\"\n\t\"encoding/json\"\n\t\"io\"\n\t\"log\"\n\t\"net/http\"\n\t\"os\"\n\t\"strconv\"\n\t\"strings\"\n\t\"sync\"\n\t\"time\"\n)\n\nvar secret = os.Getenv(\"WEBHOOK_SECRET\")\nvar seen sync.Map // in production a table: see \"Deduplicate\"\n\nfunc sign(key []byte, message string) []byte {\n\tmac := hmac.New(sha256.New, key)\n\tmac.Write([]byte(message))\n\treturn mac.Sum(nil)\n}\n\nfunc equal(a, b string) bool { return hmac.Equal([]byte(a), []byte(b)) }\n\nfunc standard(header http.Header, body []byte) bool {\n\tid, sent := header.Get(\"webhook-id\"), header.Get(\"webhook-timestamp\")\n\tseconds, err := strconv.ParseInt(sent, 10, 64)\n\tif err != nil || time.Since(time.Unix(seconds, 0)).Abs() > 5*time.Minute {\n\t\treturn false\n\t}\n\tkey := []byte(secret)\n\tif strings.HasPrefix(secret, \"whsec_\") {\n\t\tif key, err = base64.StdEncoding.DecodeString(secret[6:]); err != nil {\n\t\t\treturn false\n\t\t}\n\t}\n\texpected := \"v1,\" + base64.StdEncoding.EncodeToString(sign(key, id+\".\"+sent+\".\"+string(body)))\n\tfor _, signature := range strings.Split(header.Get(\"webhook-signature\"), \" \") {\n\t\tif equal(signature, expected) {\n\t\t\treturn true\n\t\t}\n\t}\n\treturn false\n}\n\nfunc github(header http.Header, body []byte) bool {\n\texpected := \"sha256=\" + hex.EncodeToString(sign([]byte(secret), string(body)))\n\treturn equal(header.Get(\"X-Webhook-Signature\"), expected)\n}\n\nvar isGenuine = standard // or github\n\nfunc receive(w http.ResponseWriter, r *http.Request) {\n\tif r.Method != http.MethodPost {\n\t\tw.WriteHeader(http.StatusMethodNotAllowed)\n\t\treturn\n\t}\n\tbody, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 8<<20))\n\tif err != nil {\n\t\tw.WriteHeader(http.StatusBadRequest)\n\t\treturn\n\t}\n\tif !isGenuine(r.Header, body) {\n\t\tw.WriteHeader(http.StatusUnauthorized)\n\t\treturn\n\t}\n\tid := r.Header.Get(\"webhook-id\")\n\tif _, known := seen.LoadOrStore(id, true); !known {\n\t\tgo work(id, body)\n\t}\n\tw.WriteHeader(http.StatusNoContent)\n}\n\nfunc work(id string, body []byte) {\n\tvar event struct {\n\t\tEvent string\n\t\tData  map[string]any\n\t}\n\tif err := json.Unmarshal(body, &event); err != nil {\n\t\tlog.Print(err)\n\t\treturn\n\t}\n\tlog.Println(\"received\", id, event.Event)\n}\n\nfunc main() {\n\tif secret == \"\" {\n\t\tlog.Fatal(\"WEBHOOK_SECRET is not set\")\n\t}\n\tlog.Fatal(http.ListenAndServe(\"127.0.0.1:\"+os.Getenv(\"PORT\"), http.HandlerFunc(receive)))\n}"
  },
  {
    "language": "Ruby",
    "code": "# WEBHOOK_SECRET=whsec_… PORT=8080 ruby receiver.rb\nrequire 'base64'\nrequire 'json'\nrequire 'openssl'\nrequire 'webrick'\n\nSECRET = ENV.fetch('WEBHOOK_SECRET')\nabort 'WEBHOOK_SECRET is empty' if SECRET.empty?\n$stdout.sync = true\nseen = {} # in production a table: see \"Deduplicate\"\ntodo = Queue.new\n\ndef standard(headers, body)\n  id, time = headers['webhook-id'].to_s, headers['webhook-timestamp'].to_s\n  return false if (Time.now.to_i - time.to_i).abs > 300\n  key = SECRET.start_with?('whsec_') ? Base64.decode64(SECRET.delete_prefix('whsec_')) : SECRET\n  expected = 'v1,' + Base64.strict_encode64(OpenSSL::HMAC.digest('SHA256', key, \"#{id}.#{time}.\".b + body))\n  headers['webhook-signature'].to_s.split(' ').any? { |signature| OpenSSL.secure_compare(signature, expected) }\nend\n\ndef github(headers, body)\n  expected = 'sha256=' + OpenSSL::HMAC.hexdigest('SHA256', SECRET, body)\n  OpenSSL.secure_compare(headers['x-webhook-signature'].to_s, expected)\nend\n\nIS_GENUINE = method(:standard) # or github\n\nThread.new do\n  loop do\n    id, event = todo.pop\n    puts \"received #{id} #{event['event']}\"\n  end\nend\n\nserver = WEBrick::HTTPServer.new(BindAddress: '127.0.0.1', Port: ENV.fetch('PORT').to_i, AccessLog: [])\nserver.mount_proc '/' do |request, response|\n  response.status = 405\n  next unless request.request_method == 'POST'\n  body = request.body.to_s.b\n  genuine = IS_GENUINE.call(request, body)\n  id = request['webhook-id']\n  if genuine && !seen.key?(id)\n    seen[id] = true\n    todo << [id, JSON.parse(body)]\n  end\n  response.status = genuine ? 204 : 401\nend\ntrap('TERM') { server.shutdown }\nserver.start"
  },
  {
    "language": "PHP",
    "code": "<?php\n// WEBHOOK_SECRET=whsec_… php -S 127.0.0.1:$PORT receiver.php\n$secret = getenv('WEBHOOK_SECRET') ?: throw new Exception('WEBHOOK_SECRET is not set');\n$spool = getenv('WEBHOOK_SPOOL') ?: sys_get_temp_dir() . '/webhooks';\n\nfunction header_value(string $name): string\n{\n    return $_SERVER['HTTP_' . strtoupper(strtr($name, '-', '_'))] ?? '';\n}\n\nfunction standard(string $secret, string $body): bool\n{\n    [$id, $time] = [header_value('webhook-id'), header_value('webhook-timestamp')];\n    if (!ctype_digit($time) || abs(time() - (int) $time) > 300) {\n        return false;\n    }\n    $key = str_starts_with($secret, 'whsec_') ? base64_decode(substr($secret, 6)) : $secret;\n    $expected = 'v1,' . base64_encode(hash_hmac('sha256', \"$id.$time.$body\", $key, true));\n    foreach (explode(' ', header_value('webhook-signature')) as $signature) {\n        if (hash_equals($expected, $signature)) {\n            return true;\n        }\n    }\n    return false;\n}\n\nfunction github(string $secret, string $body): bool\n{\n    return hash_equals('sha256=' . hash_hmac('sha256', $body, $secret), header_value('X-Webhook-Signature'));\n}\n\n$isGenuine = 'standard'; // or github\n\nfunction receive(string $secret, string $spool, callable $isGenuine): int\n{\n    if ($_SERVER['REQUEST_METHOD'] !== 'POST') {\n        return 405;\n    }\n    $body = file_get_contents('php://input');\n    if (!$isGenuine($secret, $body)) {\n        return 401;\n    }\n    // Write the whole file first. link() then gives it its name in one step, and fails if the name exists.\n    $id = header_value('webhook-id');\n    $file = $spool . '/' . hash('sha256', $id) . '.json';\n    is_dir($spool) || mkdir($spool, 0700, true);\n    $part = tempnam($spool, 'part');\n    $isWritten = file_put_contents($part, $body) === strlen($body);\n    $isNew = $isWritten && @link($part, $file);\n    unlink($part);\n    if ($isNew) {\n        error_log(\"received $id \" . json_decode($body)->event);\n    }\n    return $isNew || file_exists($file) ? 204 : 500;\n}\n\nhttp_response_code(receive($secret, $spool, $isGenuine));"
  }
];

// A request as it is sent.
export const request = "POST /hooks HTTP/1.1\nContent-Type: application/json\nwebhook-id: evt_3k9m5r2xq8w7v1n4t6y0b3c5d7\nwebhook-timestamp: 1705314600\nwebhook-signature: v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=\nX-Webhook-Event: contact.created\nX-Webhook-Attempt: 1\nX-Webhook-Signature: sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17\n\n{\"event\":\"contact.created\",\"timestamp\":\"2024-01-15T10:30:00.000000Z\",\"data\":{\"id\":1,\"name\":\"Ada\"}}";

// How to get the raw body: [framework, how].
export const rawBodies = [
  [
    "Express",
    "`app.post('/hooks', express.raw({ type: '*/*', limit: '8mb' }), …)`, before any `express.json()`; then `request.body`"
  ],
  [
    "Fastify",
    "a parser of its own for the route: `addContentTypeParser('application/json', { parseAs: 'buffer' }, …)`"
  ],
  [
    "Next.js",
    "route handler: `await request.text()`; pages: `export const config = { api: { bodyParser: false } }`"
  ],
  [
    "Django",
    "`request.body`, before `request.POST`; and `@csrf_exempt`"
  ],
  [
    "Flask, FastAPI",
    "`request.get_data()`, `await request.body()`"
  ],
  [
    "Rails, Sinatra",
    "`request.raw_post`, `request.body.read`; in Rails `skip_forgery_protection`"
  ],
  [
    "Laravel, Symfony",
    "`$request->getContent()`; in Laravel without the CSRF middleware"
  ],
  [
    "Spring",
    "`@RequestBody byte[] body`"
  ]
];

package gateway

import "net/http"

const page = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>CloudOptim</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:42rem;margin:3rem auto;padding:0 1rem}code{background:#eee;padding:0 .2em}</style>
<h1>CloudOptim</h1>
<p>This is the control plane. It cuts what Kubernetes on AWS costs and keeps workloads safe while it does.</p>
<p>The admin UI is not in this build: <code>make build</code> makes one that has it (build tag <code>ui</code>).</p>
<ul>
<li><a href="/openapi.json">/openapi.json</a>: every REST path</li>
<li><a href="/healthz">/healthz</a> and <a href="/readyz">/readyz</a>: does it live, can it work</li>
<li><a href="/metrics">/metrics</a>: Prometheus</li>
</ul>
<p>Calls carry a key: <code>curl -H "Authorization: Bearer $KEY" /api/v1/admin/clusters</code>.
The same API speaks gRPC, with reflection, on its own port.</p>
</html>
`

func front(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	_, _ = w.Write([]byte(page))
}

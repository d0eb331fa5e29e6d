package gateway

import (
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
)

const testPage = `<!doctype html><meta name="csp-nonce" content="__CSP_NONCE__"><script type="module" src="/assets/index-abc123.js"></script>`

func openUI(t *testing.T) *house {
	t.Helper()
	return open(t, func(cfg *Config) {
		cfg.Pages = fstest.MapFS{
			"index.html":                {Data: []byte(testPage)},
			"favicon.svg":               {Data: []byte("<svg/>")},
			"assets/index-abc123.js":    {Data: []byte("plain script")},
			"assets/index-abc123.js.br": {Data: []byte("br script")},
			"assets/index-abc123.js.gz": {Data: []byte("gz script")},
			"assets/style-def456.css":   {Data: []byte("body{}")},
		}
	})
}

// browser's headers when it opens an address.
var browser = []string{"Accept", "text/html,application/xhtml+xml,*/*;q=0.8", "Accept-Encoding", "gzip, deflate, br"}

func TestEveryAddressOfTheUIIsItsPage(t *testing.T) {
	h := openUI(t)
	for _, path := range []string{"/", "/clusters", "/clusters/0b9e/nodes?tab=pods", "/plans/0b9e", "/apiary"} {
		status, header, body := h.get(t, path, browser...)
		if status != 200 || header.Get("Content-Type") != "text/html; charset=utf-8" || !strings.Contains(body, "index-abc123.js") {
			t.Errorf("%s: %d %s %.60q", path, status, header.Get("Content-Type"), body)
		}
		if cache := header.Get("Cache-Control"); cache != "no-cache" {
			t.Errorf("%s is cached %q; a new build would not be seen", path, cache)
		}
	}
	if status, _, body := h.get(t, "/", "Accept", "*/*"); status != 200 || !strings.Contains(body, "csp-nonce") {
		t.Errorf("the front page is for all: %d %.60q", status, body)
	}
}

func TestWhatIsNoAddressOfTheUIIsNeverItsPage(t *testing.T) {
	h := openUI(t)
	for _, path := range []string{
		"/api", "/api/", "/api/v1/nowhere", "/api/v1/admin/clusters/x/nowhere", "/auth/nowhere", "/assets/index-old.js", "/assets/", "/nowhere.js", "/index.html",
		"/assets/index-abc123.js.gz", "/robots.txt",
	} {
		status, header, body := h.get(t, path, browser...)
		if strings.Contains(header.Get("Content-Type"), "html") || strings.Contains(body, "<!doctype") {
			t.Errorf("%s was answered with the page", path)
			continue
		}
		if code, _ := requireErrorBody(t, body); status != 404 || code != "NOT_FOUND" {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	status, _, body := h.get(t, "/clusters", "Accept", "application/json")
	if code, _ := requireErrorBody(t, body); status != 404 || code != "NOT_FOUND" {
		t.Errorf("a program that asks for JSON got %d %s", status, body)
	}
}

func TestNoPathLeadsOutOfTheUI(t *testing.T) {
	h := openUI(t)
	for _, path := range []string{
		"/assets/../../../../etc/passwd", "/assets/%2e%2e/%2e%2e/etc/passwd", "/..%2f..%2fetc%2fpasswd", "/assets/..%5c..%5cgo.mod", "//etc/passwd", "/assets/%00",
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.URL.Opaque = path // as it is, not cleaned by the client
		req.Header.Set("Accept", "*/*")
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode == 200 || strings.Contains(string(body), "root:") {
			t.Errorf("%s: %d %.60q", path, resp.StatusCode, body)
		}
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}

func TestFilesWithAHashInTheirNameAreKeptForEver(t *testing.T) {
	h := openUI(t)
	for _, test := range []struct{ path, accept, encoding, body, cache string }{
		{"/assets/index-abc123.js", "gzip, deflate, br", "br", "br script", "public, max-age=31536000, immutable"},
		{"/assets/index-abc123.js", "gzip", "gzip", "gz script", "public, max-age=31536000, immutable"},
		{"/assets/index-abc123.js", "br;q=0, gzip;q=0.5", "gzip", "gz script", "public, max-age=31536000, immutable"},
		{"/assets/index-abc123.js", "identity", "", "plain script", "public, max-age=31536000, immutable"},
		{"/assets/index-abc123.js", "brotli, gzipped", "", "plain script", "public, max-age=31536000, immutable"},
		{"/assets/style-def456.css", "br", "", "body{}", "public, max-age=31536000, immutable"},
		{"/favicon.svg", "br", "", "<svg/>", "no-cache"},
	} {
		status, header, body := h.get(t, test.path, "Accept-Encoding", test.accept)
		if status != 200 || body != test.body || header.Get("Content-Encoding") != test.encoding || header.Get("Cache-Control") != test.cache {
			t.Errorf("%s for %q: %d %q, encoding %q, cache %q", test.path, test.accept, status, body, header.Get("Content-Encoding"), header.Get("Cache-Control"))
		}
		if header.Get("Vary") != "Accept-Encoding" || header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: a shared cache or a browser may take it for something else: %v", test.path, header)
		}
		if status, _, body := h.get(t, test.path, "Accept-Encoding", test.accept, "If-None-Match", header.Get("ETag")); status != 304 || body != "" {
			t.Errorf("%s again: %d %q, want 304", test.path, status, body)
		}
	}
}

func TestThePageMayUseItsOwnFilesAlone(t *testing.T) {
	h := openUI(t)
	nonce := regexp.MustCompile(`'nonce-([A-Za-z0-9+/=]{24})'`)
	seen := map[string]bool{}
	for range 3 {
		_, header, body := h.get(t, "/clusters", browser...)
		csp := header.Get("Content-Security-Policy")
		found := nonce.FindStringSubmatch(csp)
		if found == nil || seen[found[1]] {
			t.Fatalf("the nonce is missing or old: %s", csp)
		}
		seen[found[1]] = true
		if !strings.Contains(body, `content="`+found[1]+`"`) || strings.Contains(body, nonceMark) {
			t.Errorf("the page has another nonce than its policy: %s", body)
		}
		for _, want := range []string{
			"default-src 'self'", "script-src 'self';", "connect-src 'self'", "object-src 'none'", "base-uri 'none'", "form-action 'self'", "frame-ancestors 'none'",
		} {
			if !strings.Contains(csp, want) {
				t.Errorf("the policy lacks %s: %s", want, csp)
			}
		}
		if strings.Contains(strings.ReplaceAll(csp, "style-src-attr 'unsafe-inline'", ""), "unsafe") {
			t.Errorf("the policy allows what is inline: %s", csp)
		}
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin",
		} {
			if got := header.Get(name); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
		if !strings.Contains(header.Get("Permissions-Policy"), "camera=()") {
			t.Error("the page may use the camera")
		}
	}
}

func TestHeadHasTheHeadersAndNoBodyAndNothingElseIsTaken(t *testing.T) {
	h := openUI(t)
	for _, test := range []struct {
		method, path string
		want         int
	}{
		{http.MethodHead, "/clusters", 200},
		{http.MethodHead, "/assets/index-abc123.js", 200},
		{http.MethodPost, "/clusters", 404},
		{http.MethodPut, "/assets/index-abc123.js", 404},
		{http.MethodDelete, "/", 404},
	} {
		req, err := http.NewRequestWithContext(t.Context(), test.method, h.url+test.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", "text/html")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != test.want {
			t.Errorf("%s %s: %d, want %d", test.method, test.path, resp.StatusCode, test.want)
		}
		if test.method == http.MethodHead && (len(body) > 0 || resp.ContentLength <= 0) {
			t.Errorf("%s %s: %d bytes, length %d", test.method, test.path, len(body), resp.ContentLength)
		}
		if test.method != http.MethodHead {
			requireErrorBody(t, string(body))
		}
	}
}

func TestAUIWithoutItsPageIsRefused(t *testing.T) {
	if _, err := newUI(fstest.MapFS{"assets/a.js": {Data: []byte("x")}}); err == nil {
		t.Error("it would answer every address with nothing")
	}
}

func TestWithoutTheUIThePlainPageSaysHowToBuildIt(t *testing.T) {
	h := open(t)
	if _, _, body := h.get(t, "/", browser...); !strings.Contains(body, "make build") {
		t.Errorf("it does not say how: %.300s", body)
	}
	if status, _, body := h.get(t, "/clusters", browser...); status != 404 {
		t.Errorf("%d %.60s", status, body)
	}
}

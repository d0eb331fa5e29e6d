package gateway

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
)

// nonceMark stands in index.html where the page's nonce goes.
const nonceMark = "__CSP_NONCE__"

// policy allows the UI its own files and nothing else. Dialogs add a style element while they are open, which is what
// the nonce is for; charts set style attributes on what they draw.
const policy = "default-src 'self'; script-src 'self'; style-src 'self' 'nonce-" + nonceMark + "'; style-src-attr 'unsafe-inline'; " +
	"img-src 'self' data:; font-src 'self'; connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// asset is a built file in the encodings it was built in; "" is the plain one.
type asset struct {
	kind     string
	etag     string
	encoding map[string][]byte
}

// ui serves the admin UI. Its files are few and lie in memory, so that no path leads to a disk.
type ui struct {
	assets map[string]*asset
	index  []byte
}

// encodings by the suffix of a file that was compressed when the UI was built, best first.
var encodings = []struct{ suffix, name string }{{".br", "br"}, {".gz", "gzip"}}

func newUI(files fs.FS) (*ui, error) {
	u := &ui{assets: map[string]*asset{}}
	err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		raw, err := fs.ReadFile(files, name)
		if err == nil {
			u.add(name, raw)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the UI's files: %w", err)
	}
	if u.index == nil {
		return nil, fmt.Errorf("reading the UI's files: there is no index.html")
	}
	return u, nil
}

func (u *ui) add(name string, raw []byte) {
	if name == "index.html" {
		u.index = raw
		return
	}
	encoding := ""
	for _, e := range encodings {
		if plain, ok := strings.CutSuffix(name, e.suffix); ok {
			name, encoding = plain, e.name
		}
	}
	a := u.assets["/"+name]
	if a == nil {
		a = &asset{kind: kindOf(name), encoding: map[string][]byte{}}
		u.assets["/"+name] = a
	}
	a.encoding[encoding] = raw
	if encoding == "" {
		sum := sha256.Sum256(raw)
		a.etag = hex.EncodeToString(sum[:8])
	}
}

func kindOf(name string) string {
	if kind := mime.TypeByExtension(path.Ext(name)); kind != "" {
		return kind
	}
	return "application/octet-stream"
}

// ServeHTTP answers files as they are, and index.html to a browser that asks for one of the UI's addresses; what it
// shows there is the UI's own business. All else is not found, in the documented form.
func (u *ui) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		missing(w, r)
		return
	}
	if a := u.assets[r.URL.Path]; a != nil && a.encoding[""] != nil {
		serveAsset(w, r, a)
		return
	}
	if !address(r) {
		missing(w, r)
		return
	}
	u.servePage(w, r)
}

// address tells whether one of the UI's addresses is asked for: no API's path, no file's, and by a browser.
func address(r *http.Request) bool {
	p := r.URL.Path
	if p == "/" {
		return true
	}
	for _, other := range []string{"/api", "/auth", "/assets"} {
		if p == other || strings.HasPrefix(p, other+"/") {
			return false
		}
	}
	return !strings.Contains(path.Base(p), ".") && strings.Contains(r.Header.Get("Accept"), "text/html")
}

func serveAsset(w http.ResponseWriter, r *http.Request, a *asset) {
	h := w.Header()
	harden(h)
	h.Set("Content-Type", a.kind)
	h.Add("Vary", "Accept-Encoding")
	h.Set("Cache-Control", "no-cache")
	if strings.HasPrefix(r.URL.Path, "/assets/") { // their names change with what is in them
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	encoding, body := a.choose(r.Header.Get("Accept-Encoding"))
	etag := `"` + a.etag + `"`
	if encoding != "" {
		h.Set("Content-Encoding", encoding)
		etag = `"` + a.etag + "-" + encoding + `"`
	}
	h.Set("ETag", etag)
	if r.Header.Get("If-None-Match") == etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method == http.MethodGet {
		_, _ = w.Write(body) //nolint:gosec // the UI's own files; nothing of the request is in them
	}
}

// choose picks the best encoding that the client takes.
func (a *asset) choose(accept string) (string, []byte) {
	for _, e := range encodings {
		if body := a.encoding[e.name]; body != nil && accepts(accept, e.name) {
			return e.name, body
		}
	}
	return "", a.encoding[""]
}

// accepts reads Accept-Encoding as far as it matters here: which are named, and not with q=0.
func accepts(header, encoding string) bool {
	for part := range strings.SplitSeq(header, ",") {
		name, parameter, _ := strings.Cut(strings.TrimSpace(part), ";")
		if !strings.EqualFold(strings.TrimSpace(name), encoding) {
			continue
		}
		_, q, weighed := strings.Cut(strings.TrimSpace(parameter), "q=")
		weight, err := strconv.ParseFloat(strings.TrimSpace(q), 64)
		return !weighed || err == nil && weight > 0
	}
	return false
}

func (u *ui) servePage(w http.ResponseWriter, r *http.Request) {
	nonce := make([]byte, 16)
	_, _ = rand.Read(nonce) // never fails
	text := base64.StdEncoding.EncodeToString(nonce)
	body := bytes.ReplaceAll(u.index, []byte(nonceMark), []byte(text))
	h := w.Header()
	harden(h)
	h.Set("Content-Security-Policy", strings.ReplaceAll(policy, nonceMark, text))
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-cache")
	h.Add("Vary", "Accept")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method == http.MethodGet {
		_, _ = w.Write(body) //nolint:gosec // the UI's own files; nothing of the request is in them
	}
}

// harden sets what browsers should keep to, whatever is served.
func harden(h http.Header) {
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=(), payment=(), usb=(), clipboard-write=(self)")
}

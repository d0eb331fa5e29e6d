// Package optest is an OpenID provider for tests, which can also do wrong.
package optest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// OP is an OpenID provider: discovery, keys, codes with PKCE, tokens. It is small and ours because it must
// also do wrong, which a library for providers, with its many dependencies, takes care not to.
type OP struct {
	*httptest.Server
	// Redirect is the address that is registered for the client.
	Redirect string

	key   *ecdsa.PrivateKey
	mu    sync.Mutex
	codes map[string]url.Values
	asked int
	away  bool
	// claims changes what a token says; sign, who signs it.
	claims func(map[string]any)
	sign   *ecdsa.PrivateKey
}

// Client and Secret are the one client that is registered.
const (
	Client = "cloudoptim"
	Secret = "the client's secret"
)

// emailAs is where what a person typed is kept until the token is asked for.
const emailAs = "optest_email"

// New starts a provider that ends with the test.
func New(t *testing.T, redirect string) *OP {
	t.Helper()
	o := &OP{Redirect: redirect, codes: map[string]url.Values{}, key: NewKey(t)}
	o.sign = o.key
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", o.configuration)
	mux.HandleFunc("GET /keys", o.keys)
	mux.HandleFunc("POST /token", o.token)
	mux.HandleFunc("GET /authorize", o.ask)
	mux.HandleFunc("POST /authorize", o.decide)
	o.Server = httptest.NewServer(mux)
	t.Cleanup(o.Close)
	return o
}

// NewKey makes a key to sign with.
func NewKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// Says changes what tokens say from now on; nil: nothing.
func (o *OP) Says(claims func(map[string]any)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.claims = claims
}

// SignsWith makes another key sign.
func (o *OP) SignsWith(key *ecdsa.PrivateKey) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sign = key
}

// Away makes it unreachable, or reachable again.
func (o *OP) Away(away bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.away = away
}

// Asked is how many times somebody wanted to know about the provider.
func (o *OP) Asked() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.asked
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func (o *OP) configuration(w http.ResponseWriter, _ *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked++
	if o.away {
		answer(w, http.StatusServiceUnavailable, nil)
		return
	}
	answer(w, http.StatusOK, map[string]any{
		"issuer": o.URL, "authorization_endpoint": o.URL + "/authorize", "token_endpoint": o.URL + "/token", "jwks_uri": o.URL + "/keys",
		"id_token_signing_alg_values_supported": []string{"ES256"},
	})
}

func (o *OP) keys(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: o.key.Public(), KeyID: "1", Algorithm: "ES256", Use: "sig"}}})
}

// Consent is a person who signs in at the provider: to is where central sent the browser, the answer what the
// provider sends it back with.
func (o *OP) Consent(t *testing.T, to string) url.Values {
	t.Helper()
	at, err := url.Parse(to)
	if err != nil || at.Path != "/authorize" {
		t.Fatalf("sent to %q (%v)", to, err)
	}
	asked := at.Query()
	if !o.wellAsked(asked) {
		t.Fatalf("asked with %v", asked)
	}
	return o.consent(asked)
}

func (o *OP) wellAsked(asked url.Values) bool {
	return asked.Get("response_type") == "code" && asked.Get("code_challenge_method") == "S256" && asked.Get("scope") == "openid email" &&
		asked.Get("redirect_uri") == o.Redirect && asked.Get("nonce") != "" && asked.Get("client_id") == Client
}

func (o *OP) consent(asked url.Values) url.Values {
	code := rand.Text()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.codes[code] = asked
	return url.Values{"state": {asked.Get("state")}, "code": {code}}
}

// page is what a person sees at the provider; its form goes to the address that it is at.
const page = `<!doctype html><html lang="en"><title>Example ID</title>
<main><h1>Example ID</h1><form method="post"><label>E-mail <input name="email" type="email"></label>
<button name="decision" value="yes">Sign in</button> <button name="decision" value="no" formnovalidate>Decline</button></form></main></html>`

// ask is the page that a browser is sent to.
func (o *OP) ask(w http.ResponseWriter, r *http.Request) {
	if !o.wellAsked(r.URL.Query()) {
		http.Error(w, "asked with "+r.URL.RawQuery, http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = io.WriteString(w, page)
}

// decide sends the browser back with what the person decided.
func (o *OP) decide(w http.ResponseWriter, r *http.Request) {
	asked := r.URL.Query()
	if !o.wellAsked(asked) {
		http.Error(w, "asked with "+r.URL.RawQuery, http.StatusBadRequest)
		return
	}
	answer := url.Values{"state": {asked.Get("state")}, "error": {"access_denied"}}
	if r.FormValue("decision") == "yes" {
		asked.Set(emailAs, r.FormValue("email"))
		answer = o.consent(asked)
	}
	http.Redirect(w, r, o.Redirect+"?"+answer.Encode(), http.StatusSeeOther)
}

// token trades a code for tokens, once, with the verifier that its challenge was made of.
func (o *OP) token(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	asked := o.codes[r.FormValue("code")]
	delete(o.codes, r.FormValue("code"))
	id, secret, _ := r.BasicAuth()
	if id == "" {
		id, secret = r.FormValue("client_id"), r.FormValue("client_secret")
	}
	sum := sha256.Sum256([]byte(r.FormValue("code_verifier")))
	plain, _ := url.QueryUnescape(secret)
	if asked == nil || id != Client || (secret != Secret && plain != Secret) ||
		asked.Get("code_challenge") != base64.RawURLEncoding.EncodeToString(sum[:]) || r.FormValue("redirect_uri") != asked.Get("redirect_uri") {
		answer(w, http.StatusBadRequest, map[string]any{"error": "invalid_grant"})
		return
	}
	claims := map[string]any{
		"iss": o.URL, "sub": "1", "aud": Client, "exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix(),
		"nonce": asked.Get("nonce"), "email": "Ann@Example.com", "email_verified": true,
	}
	if email := asked.Get(emailAs); email != "" {
		claims["email"] = email
	}
	if o.claims != nil {
		o.claims(claims)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: o.sign}, (&jose.SignerOptions{}).WithHeader("kid", "1"))
	if err != nil {
		answer(w, http.StatusInternalServerError, nil)
		return
	}
	token, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		answer(w, http.StatusInternalServerError, nil)
		return
	}
	answer(w, http.StatusOK, map[string]any{"access_token": "x", "token_type": "Bearer", "id_token": token})
}

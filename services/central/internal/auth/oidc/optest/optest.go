// Package optest is an OpenID provider for tests, which can also do wrong.
package optest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
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

// New starts a provider that ends with the test.
func New(t *testing.T, redirect string) *OP {
	t.Helper()
	o := &OP{Redirect: redirect, codes: map[string]url.Values{}, key: NewKey(t)}
	o.sign = o.key
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", o.configuration)
	mux.HandleFunc("GET /keys", o.keys)
	mux.HandleFunc("POST /token", o.token)
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
	if asked.Get("response_type") != "code" || asked.Get("code_challenge_method") != "S256" || asked.Get("scope") != "openid email" ||
		asked.Get("redirect_uri") != o.Redirect || asked.Get("nonce") == "" || asked.Get("client_id") != Client {
		t.Fatalf("asked with %v", asked)
	}
	code := rand.Text()
	o.mu.Lock()
	o.codes[code] = asked
	o.mu.Unlock()
	return url.Values{"state": {asked.Get("state")}, "code": {code}}
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

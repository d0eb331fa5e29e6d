package gateway

import (
	"context"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"time"

	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/pkg/rpc"
	"github.com/cloudoptim/cloudoptim/services/central/internal/auth"
	"github.com/cloudoptim/cloudoptim/services/central/internal/auth/oidc"
)

// OIDCLogin is where a browser begins to sign in with OIDC, OIDCCallback where the provider sends it back to.
const (
	OIDCLogin    = "/auth/oidc/login"
	OIDCCallback = "/auth/oidc/callback"
)

// oidcLogin is GET /auth/oidc/login?return_to=/…
func (g *gateway) oidcLogin(w http.ResponseWriter, r *http.Request) {
	ctx, ok := g.anyone(r)
	if !ok {
		g.signInFailed(w, r, fault.New(faultv1.Reason_REASON_RATE_LIMITED, "too many sign-ins"))
		return
	}
	to, browser, err := g.OIDC.Begin(ctx, oidc.LocalPath(r.URL.Query().Get("return_to")))
	if err != nil {
		g.signInFailed(w, r, err)
		return
	}
	secure, _ := r.Context().Value(secureContext{}).(bool)
	cookie := newCookie(detourCookie, browser, secure)
	cookie.MaxAge = int(oidc.Detour / time.Second)
	cookie.SameSite = http.SameSiteLaxMode // it must come along when the provider sends the browser back
	http.SetCookie(w, cookie)
	if hash := g.sessionHash(r, secure); hash != nil {
		before := newCookie(beforeCookie, hex.EncodeToString(hash), secure)
		before.MaxAge, before.SameSite = cookie.MaxAge, cookie.SameSite
		http.SetCookie(w, before)
	}
	redirect(w, r, to)
}

// oidcCallback is GET /auth/oidc/callback, where the provider sends the browser back to.
func (g *gateway) oidcCallback(w http.ResponseWriter, r *http.Request) {
	ctx, ok := g.anyone(r)
	if !ok {
		g.signInFailed(w, r, fault.New(faultv1.Reason_REASON_RATE_LIMITED, "too many sign-ins"))
		return
	}
	secure, _ := r.Context().Value(secureContext{}).(bool)
	var browser string
	if cookie, err := r.Cookie(cookieName(detourCookie, secure)); err == nil {
		browser = cookie.Value
	}
	http.SetCookie(w, endedCookie(detourCookie, secure))
	before := g.before(w, r, secure)
	email, returnTo, err := g.OIDC.Finish(ctx, r.URL.Query(), browser)
	if err != nil {
		g.signInFailed(w, r, err)
		return
	}
	opened, err := g.Door.WithEmail(ctx, email, before)
	if err != nil {
		g.signInFailed(w, r, err)
		return
	}
	cookie := newCookie(sessionCookie, opened.Secret, secure)
	cookie.Expires = opened.Ends
	http.SetCookie(w, cookie)
	redirect(w, r, returnTo)
}

// sessionHash is the hash of the secret of the session that the browser has, nil if it has none.
func (g *gateway) sessionHash(r *http.Request, secure bool) []byte {
	cookie, err := r.Cookie(cookieName(sessionCookie, secure))
	if err != nil {
		return nil
	}
	return auth.SessionHash(cookie.Value)
}

// before is the hash of the session that the browser had when it left for the provider. The session's own cookie does
// not come along from another site; its hash does, with which nobody can sign in.
func (g *gateway) before(w http.ResponseWriter, r *http.Request, secure bool) []byte {
	cookie, err := r.Cookie(cookieName(beforeCookie, secure))
	if err != nil {
		return g.sessionHash(r, secure)
	}
	http.SetCookie(w, endedCookie(beforeCookie, secure))
	hash, err := hex.DecodeString(cookie.Value)
	if err != nil {
		return nil
	}
	return hash
}

// anyone is the context of a call without a credential, as the gRPC server would have it; false: its address
// has made too many.
func (g *gateway) anyone(r *http.Request) (context.Context, bool) {
	ctx := rpc.WithClientAddress(r.Context(), r.Header.Get(rpc.ClientAddressHeader))
	if g.Limiter == nil {
		return ctx, true
	}
	_, ok := g.Limiter.Allow(ctx)
	return ctx, ok
}

// signInFailed sends the browser to the page that says so. Of why it says a word that helps an honest person; the
// log has the rest, by the request's id.
func (g *gateway) signInFailed(w http.ResponseWriter, r *http.Request, err error) {
	id := r.Header.Get("X-Request-Id")
	code := signInError(err)
	g.Log.WarnContext(r.Context(), "a sign-in with OIDC failed", "request_id", id, "code", code, "error", err)
	redirect(w, r, "/sign-in?"+url.Values{"error": {code}, "request_id": {id}}.Encode())
}

func signInError(err error) string {
	switch {
	case errors.Is(err, oidc.ErrDeclined):
		return "declined"
	case errors.Is(err, oidc.ErrExpired):
		return "expired"
	case errors.Is(err, oidc.ErrUnverified):
		return "email_not_verified"
	}
	switch fault.ReasonOf(err) {
	case faultv1.Reason_REASON_NOT_FOUND, faultv1.Reason_REASON_PERMISSION_DENIED:
		return "not_a_member"
	case faultv1.Reason_REASON_UNAVAILABLE:
		return "unavailable"
	case faultv1.Reason_REASON_RATE_LIMITED:
		return "rate_limited"
	default:
		return "failed"
	}
}

func redirect(w http.ResponseWriter, r *http.Request, to string) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer") // the callback's address has the code
	http.Redirect(w, r, to, http.StatusSeeOther)
}

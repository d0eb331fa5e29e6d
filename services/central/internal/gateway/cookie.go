package gateway

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/protobuf/proto"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/pkg/rpc"
	"github.com/cloudoptim/cloudoptim/services/central/internal/auth"
)

// Cookies. Behind __Host- a browser keeps them from other hosts of the domain, and takes them over TLS
// alone; over plain http, as on a laptop, they go without.
const (
	sessionCookie = "cloudoptim"
	detourCookie  = "cloudoptim-sign-in"
	beforeCookie  = "cloudoptim-before"
	hostPrefix    = "__Host-"
)

// sessionPath makes sessions: a page of another site must not sign somebody in as somebody else either.
const sessionPath = "/api/v1/admin/session"

type (
	secureContext struct{}
	cookieContext struct{}
)

// cookies lets a browser's session count as a credential: its secret takes the place of a bearer that is not
// there. Such a call, unlike one with a bearer, may be another site's idea, so the browser must say that it is not.
func (g *gateway) cookies(next http.Handler) http.Handler {
	guard := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Set(rpc.ClientAddressHeader, g.address(r))
		secure := g.secure(r)
		r = r.WithContext(context.WithValue(r.Context(), secureContext{}, secure))
		cookie, err := r.Cookie(cookieName(sessionCookie, secure))
		byCookie := err == nil && bearer(r) == "" && strings.HasPrefix(r.URL.Path, "/api/")
		if byCookie || r.URL.Path == sessionPath {
			if err := guard.Check(r); err != nil {
				rpc.WriteError(w, fault.New(faultv1.Reason_REASON_PERMISSION_DENIED,
					"Insufficient permissions: pages of another origin may change nothing").Because(err))
				return
			}
		}
		if byCookie {
			r = r.WithContext(context.WithValue(r.Context(), cookieContext{}, true))
			r.Header.Set("Authorization", "Bearer "+cookie.Value)
		}
		next.ServeHTTP(w, r)
	})
}

// byCookie tells whether a call's credential came as a cookie.
func byCookie(ctx context.Context) bool {
	by, _ := ctx.Value(cookieContext{}).(bool)
	return by
}

// session makes a cookie of a new session, and takes it away when the session was ended.
func session(ctx context.Context, w http.ResponseWriter, answer proto.Message) error {
	secure, _ := ctx.Value(secureContext{}).(bool)
	switch answer := answer.(type) {
	case *adminv1.CreateSessionResponse:
		md, _ := runtime.ServerMetadataFromContext(ctx)
		cookie := newCookie(sessionCookie, auth.HandedSecret(md.HeaderMD), secure)
		cookie.Expires = answer.GetExpiresAt().AsTime()
		http.SetCookie(w, cookie)
	case *adminv1.EndSessionResponse:
		http.SetCookie(w, endedCookie(sessionCookie, secure))
	}
	return nil
}

func cookieName(name string, secure bool) string {
	if secure {
		return hostPrefix + name
	}
	return name
}

func newCookie(name, value string, secure bool) *http.Cookie {
	return &http.Cookie{
		Name: cookieName(name, secure), Value: value, Path: "/", Secure: secure, HttpOnly: true, SameSite: http.SameSiteStrictMode,
	}
}

func endedCookie(name string, secure bool) *http.Cookie {
	cookie := newCookie(name, "", secure)
	cookie.MaxAge = -1
	return cookie
}

// secure tells whether the browser speaks TLS: to us, or to the proxies that are believed.
func (g *gateway) secure(r *http.Request) bool {
	return r.TLS != nil || (g.TrustedProxies > 0 && strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https"))
}

// address is the client's: the connection's, or what the outermost of the proxies that are believed says.
// What stands before that the client may have written itself.
func (g *gateway) address(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	if g.TrustedProxies <= 0 || len(hops) < g.TrustedProxies {
		return host
	}
	said, err := netip.ParseAddr(strings.TrimSpace(hops[len(hops)-g.TrustedProxies]))
	if err != nil {
		return host
	}
	return said.String()
}

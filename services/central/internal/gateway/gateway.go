// Package gateway is the REST front door: the documented paths, the streams as WebSocket, and what operators look at.
package gateway

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"github.com/rs/cors"
	"google.golang.org/grpc"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"
	"github.com/cloudoptim/cloudoptim/gen/openapi"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/pkg/rpc"
	"github.com/cloudoptim/cloudoptim/services/central/internal/auth"
	"github.com/cloudoptim/cloudoptim/services/central/internal/auth/oidc"
)

// Config is what the front door needs.
type Config struct {
	// Conn leads to central's own gRPC server.
	Conn *grpc.ClientConn
	// Authorizer answers WebSockets before they are opened, where a status code
	// can still be sent. The gRPC server asks it again.
	Authorizer rpc.Authorizer
	// Ready tells whether this replica can do its work.
	Ready func(ctx context.Context) error
	// Metrics serves /metrics.
	Metrics http.Handler
	// Origins are hosts, beside the server's own, whose pages may open a
	// WebSocket; patterns as path.Match knows them.
	Origins []string
	// Timeout bounds one REST call; 0: 30 seconds.
	Timeout time.Duration
	// MaxUploadBytes: a body that says it is longer is refused before it is read; 0:
	// only AdminService says so.
	MaxUploadBytes int
	Log            *slog.Logger
	// Pages are the admin UI's built files; nil: a plain page says what is here.
	Pages fs.FS
	// TrustedProxies stand before central: what they say of the client is believed.
	TrustedProxies int
	// CORSOrigins are origins, as https://host, whose pages may call with a bearer. Cookies are for
	// pages of our own alone.
	CORSOrigins []string
	// Door and OIDC let people sign in at a provider; nil OIDC: they cannot.
	Door *auth.Door
	OIDC *oidc.Provider
	// Limiter limits what HTTP itself answers; nil: no limit.
	Limiter rpc.Limiter
}

// Gateway is the front door.
type Gateway struct {
	http.Handler
	inner *gateway
}

// Wait returns when the last words of all streams are said, or ctx ends. A server
// that stops neither ends nor waits for a connection that became a WebSocket.
func (g *Gateway) Wait(ctx context.Context) {
	said := make(chan struct{})
	go func() { g.inner.lines.Wait(); close(said) }()
	select {
	case <-said:
	case <-ctx.Done():
	}
}

type gateway struct {
	Config
	beat   beat
	frames *frames
	lines  sync.WaitGroup
}

// open counts a WebSocket until the returned function is called.
func (g *gateway) open() (done func()) {
	g.lines.Add(1)
	return g.lines.Done
}

// New makes the handler of everything that central answers over HTTP.
func New(ctx context.Context, cfg Config) (*Gateway, error) {
	g := &gateway{Config: cfg, beat: beat{every: 20 * time.Second, within: 10 * time.Second}}
	handler, err := build(ctx, g)
	return &Gateway{Handler: handler, inner: g}, err
}

// services have REST paths, which are generated from the contract.
var services = []func(context.Context, *runtime.ServeMux, *grpc.ClientConn) error{
	adminv1.RegisterAdminServiceHandler, adminv1.RegisterGuardServiceHandler, adminv1.RegisterSavingsServiceHandler,
	adminv1.RegisterAuditServiceHandler, adminv1.RegisterAccountServiceHandler, adminv1.RegisterInventoryServiceHandler,
	adminv1.RegisterScheduleServiceHandler, agentv1.RegisterAgentServiceHandler,
}

func build(ctx context.Context, g *gateway) (http.Handler, error) {
	if g.Timeout <= 0 {
		g.Timeout = 30 * time.Second
	}
	g.frames = newFrames()
	rest := rpc.NewMux(session)
	for _, register := range services {
		if err := register(ctx, rest, g.Conn); err != nil {
			return nil, fmt.Errorf("registering the REST paths: %w", err)
		}
	}
	mux := http.NewServeMux()
	mux.Handle("/api/", g.shared(g.bounded(rest)))
	if g.OIDC != nil {
		mux.HandleFunc("GET "+OIDCLogin, g.oidcLogin)
		mux.HandleFunc("GET "+OIDCCallback, g.oidcCallback)
	}
	mux.HandleFunc("GET /api/v1/client/stream", g.clientStream)
	mux.HandleFunc("GET /api/v1/admin/stream", g.adminStream)
	mux.HandleFunc("POST /api/v1/admin/models/upload", g.uploadModel)
	mux.HandleFunc("GET /api/v1/admin/savings/history.csv", g.savingsCSV)
	mux.HandleFunc("GET /openapi.json", rpc.ServeJSON(openapi.Central))
	mux.HandleFunc("GET /healthz", healthy)
	mux.HandleFunc("GET /readyz", g.ready)
	mux.Handle("GET /metrics", g.Metrics)
	if err := g.pages(mux); err != nil {
		return nil, err
	}
	return rpc.Front(g.cookies(mux)), nil
}

// pages adds the admin UI, or without its files a plain page.
func (g *gateway) pages(mux *http.ServeMux) error {
	if g.Pages == nil {
		mux.HandleFunc("GET /{$}", front)
		mux.HandleFunc("/", missing)
		return nil
	}
	u, err := newUI(g.Pages)
	if err != nil {
		return err
	}
	mux.Handle("/", u)
	return nil
}

// bounded ends calls that take too long, and keeps answers, of which some hold
// new keys, out of caches.
func (g *gateway) bounded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), g.Timeout)
		defer cancel()
		guarded(w)
		if secure, _ := ctx.Value(secureContext{}).(bool); secure {
			w.Header().Set("Strict-Transport-Security", "max-age=31536000")
		}
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// guarded keeps an answer out of caches, and browsers from taking it for a page.
func guarded(w http.ResponseWriter) {
	for name, value := range map[string]string{
		"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
		"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'", "Cross-Origin-Resource-Policy": "same-origin",
	} {
		w.Header().Set(name, value)
	}
}

// shared lets pages of the configured origins call with a bearer.
func (g *gateway) shared(next http.Handler) http.Handler {
	if len(g.CORSOrigins) == 0 {
		return next
	}
	return cors.New(cors.Options{
		AllowedOrigins: g.CORSOrigins, AllowedMethods: []string{"GET", "POST", "PUT", "DELETE"},
		AllowedHeaders: []string{"Authorization", "Content-Type", "X-Request-Id", "Traceparent", "Tracestate"},
		ExposedHeaders: []string{"Next-Page-Token", "X-Request-Id", "Retry-After"}, MaxAge: 600,
	}).Handler(next)
}

func healthy(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("ok\n"))
}

func (g *gateway) ready(w http.ResponseWriter, r *http.Request) {
	if err := g.Ready(r.Context()); err != nil {
		g.Log.WarnContext(r.Context(), "this replica is not ready", "error", err)
		rpc.WriteError(w, fault.Unavailable("central", err))
		return
	}
	healthy(w, r)
}

func missing(w http.ResponseWriter, r *http.Request) {
	rpc.WriteError(w, fault.NotFound("path", r.URL.Path))
}

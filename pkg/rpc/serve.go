package rpc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
)

const (
	// stopGrace is how long calls in hand get when the server stops.
	stopGrace = 5 * time.Second
	// leaveGrace is how long what BeforeStop added may take; with stopGrace it fits
	// into the 30 s that Kubernetes gives a pod.
	leaveGrace = 20 * time.Second
)

// Serve runs the server on lis until ctx ends, then lets calls in hand finish
// for a few seconds. GracefulStop alone would wait for open streams for ever.
func (s *Server) Serve(ctx context.Context, lis net.Listener) error {
	failed := make(chan error, 1)
	go func() { failed <- s.Server.Serve(lis) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serving gRPC on %s: %w", lis.Addr(), err)
	case <-ctx.Done():
	}
	s.Health.Shutdown()
	s.leave(ctx)
	done := make(chan struct{})
	go func() { s.GracefulStop(); close(done) }()
	select {
	case <-done:
	case <-time.After(stopGrace):
		s.Stop()
	}
	return <-failed // nil, for it was told to stop
}

// leave does what BeforeStop added, all at once.
func (s *Server) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveGrace)
	defer cancel()
	s.mu.Lock()
	before := slices.Clone(s.before)
	s.mu.Unlock()
	var leaving sync.WaitGroup
	for _, do := range before {
		leaving.Go(func() { do(ctx) })
	}
	leaving.Wait()
}

// ServeHTTP runs handler on lis until ctx ends.
func ServeHTTP(ctx context.Context, lis net.Listener, handler http.Handler) error {
	srv := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(lis) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serving HTTP on %s: %w", lis.Addr(), err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopGrace)
	defer cancel()
	if err := srv.Shutdown(grace); err != nil {
		_ = srv.Close() // WebSockets do not end by themselves
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// InProcess gives a connection to s without a network, so that REST is an
// ordinary client and passes every interceptor. Close it to stop.
func InProcess(s *Server) (*grpc.ClientConn, error) {
	lis := bufconn.Listen(1 << 20)
	go func() { _ = s.inner.Serve(lis) }() // ends with the server
	return grpc.NewClient("passthrough:///in-process",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return lis.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(MaxMessageBytes), grpc.MaxCallSendMsgSize(MaxMessageBytes)),
	)
}

// DialConfig says how to reach a server.
type DialConfig struct {
	// APIKey is sent as bearer token; "" for none.
	APIKey string
	// TLS, with the system's roots or those in CAFile.
	TLS    bool
	CAFile string
	// Options of grpc-go, e.g. keepalive.
	Options []grpc.DialOption
}

// Dial makes a connection; it connects when first used. Unary calls that the
// server never saw are tried again by grpc-go itself.
func Dial(target string, cfg DialConfig) (*grpc.ClientConn, error) {
	creds, err := transport(cfg)
	if err != nil {
		return nil, fmt.Errorf("dialling %s: %w", target, err)
	}
	opts := append([]grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		grpc.WithStatsHandler(otelgrpc.NewClientHandler()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(MaxMessageBytes), grpc.MaxCallSendMsgSize(MaxMessageBytes)),
	}, cfg.Options...)
	if cfg.APIKey != "" {
		opts = append(opts, grpc.WithPerRPCCredentials(apiKey{secret: cfg.APIKey, tls: cfg.TLS}))
	}
	return grpc.NewClient(target, opts...)
}

func transport(cfg DialConfig) (credentials.TransportCredentials, error) {
	switch {
	case !cfg.TLS:
		return insecure.NewCredentials(), nil
	case cfg.CAFile != "":
		return credentials.NewClientTLSFromFile(cfg.CAFile, "")
	default:
		return credentials.NewClientTLSFromCert(nil, ""), nil
	}
}

type apiKey struct {
	secret string
	tls    bool
}

// GetRequestMetadata sends the key.
func (k apiKey) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + k.secret}, nil
}

// RequireTransportSecurity allows plain text only where TLS was switched off.
func (k apiKey) RequireTransportSecurity() bool { return k.tls }

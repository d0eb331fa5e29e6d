// Package rpc is how every CloudOptim server speaks gRPC and REST: one visible chain of interceptors, one error body.
package rpc

import (
	"log/slog"
	"time"

	"buf.build/go/protovalidate"
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc/filters"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"
)

// MaxMessageBytes bounds one gRPC message; the state of 100,000 pods fits.
const MaxMessageBytes = 128 << 20

// ServerConfig is what a server needs beside its services.
type ServerConfig struct {
	Log *slog.Logger
	// Authorizer decides about every call but health and reflection.
	Authorizer Authorizer
	// Limiter may be nil: no limit.
	Limiter Limiter
	// MaxConnectionAge ends connections so that they spread over replicas; 0: never.
	MaxConnectionAge time.Duration
}

// Server is a gRPC server with health and reflection.
type Server struct {
	*grpc.Server
	// Health answers grpc.health.v1; a service that is not set is SERVING once started.
	Health *health.Server

	log *slog.Logger
}

// NewServer makes a server whose chain reads: request id → log → fault →
// recover → authorize → rate limit → validate; tracing is a stats handler.
func NewServer(cfg ServerConfig) *Server {
	c := chain{log: cfg.Log, authorizer: cfg.Authorizer, limiter: cfg.Limiter, validator: protovalidate.GlobalValidator, policies: policies()}
	age := keepalive.ServerParameters{Time: 20 * time.Second, Timeout: 10 * time.Second}
	if cfg.MaxConnectionAge > 0 {
		// Without a grace an open stream is never ended.
		age.MaxConnectionAge, age.MaxConnectionAgeGrace = cfg.MaxConnectionAge, 2*time.Minute
	}
	srv := grpc.NewServer(
		grpc.StatsHandler(otelgrpc.NewServerHandler(otelgrpc.WithFilter(filters.Not(filters.HealthCheck())))),
		grpc.ChainUnaryInterceptor(c.unary()...),
		grpc.ChainStreamInterceptor(c.stream()...),
		grpc.MaxRecvMsgSize(MaxMessageBytes), grpc.MaxSendMsgSize(MaxMessageBytes),
		grpc.KeepaliveParams(age),
		// The default of five minutes answers an agent's pings with too_many_pings.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
		// Small buffers: a quarter less memory with thousands of mostly idle streams.
		grpc.WriteBufferSize(4<<10), grpc.ReadBufferSize(0),
	)
	s := &Server{Server: srv, Health: health.NewServer(), log: cfg.Log}
	healthv1.RegisterHealthServer(srv, s.Health)
	reflection.Register(srv)
	return s
}

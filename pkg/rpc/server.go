// Package rpc is how every CloudOptim server speaks gRPC and REST: one visible chain of interceptors, one error body.
package rpc

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"buf.build/go/protovalidate"
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc/filters"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
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
	// Connections within the process do not age.
	MaxConnectionAge time.Duration
}

// Server is a gRPC server with health and reflection.
type Server struct {
	*grpc.Server
	// Health answers grpc.health.v1; a service that is not set is SERVING once started.
	Health *health.Server

	// inner serves the same to callers within the process: it neither pings nor ages
	// their one connection, or every REST WebSocket would end with it.
	inner *grpc.Server
	log   *slog.Logger

	mu     sync.Mutex
	before []func(context.Context)
}

// NewServer makes a server whose chain reads: request id → log → fault →
// recover → authorize → rate limit → validate; tracing is a stats handler.
func NewServer(cfg ServerConfig) *Server {
	c := chain{log: cfg.Log, authorizer: cfg.Authorizer, limiter: cfg.Limiter, validator: protovalidate.GlobalValidator, policies: policies()}
	common := []grpc.ServerOption{
		// A span over the hours of an agent's or a dashboard's stream says nothing, and
		// costs memory for each and time for every message: tasks carry their own trace.
		grpc.StatsHandler(otelgrpc.NewServerHandler(otelgrpc.WithFilter(filters.None(
			filters.HealthCheck(), filters.MethodName("Connect"), filters.MethodName("Stream"))))),
		grpc.ChainUnaryInterceptor(c.unary()...),
		grpc.ChainStreamInterceptor(c.stream()...),
		grpc.MaxRecvMsgSize(MaxMessageBytes), grpc.MaxSendMsgSize(MaxMessageBytes), grpc.ForceServerCodecV2(exact{}),
	}
	s := &Server{
		Server: grpc.NewServer(slices.Concat(common, lines(cfg.MaxConnectionAge))...),
		inner:  grpc.NewServer(common...),
		Health: health.NewServer(), log: cfg.Log,
	}
	healthv1.RegisterHealthServer(s, s.Health)
	reflection.Register(s.Server)
	return s
}

// RegisterService takes a service for callers from outside and from within.
func (s *Server) RegisterService(desc *grpc.ServiceDesc, impl any) {
	s.Server.RegisterService(desc, impl)
	s.inner.RegisterService(desc, impl)
}

// Stop ends all calls at once.
func (s *Server) Stop() {
	s.Server.Stop()
	s.inner.Stop()
}

// GracefulStop lets calls in hand finish; open streams it waits for without end.
func (s *Server) GracefulStop() {
	s.Server.GracefulStop()
	s.inner.GracefulStop()
}

// BeforeStop adds what Serve does first when it is told to stop: say good-bye on
// streams, such as. It is waited for, but no longer than leaveGrace.
func (s *Server) BeforeStop(do func(context.Context)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = append(s.before, do)
}

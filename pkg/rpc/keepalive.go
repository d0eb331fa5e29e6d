package rpc

import (
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
)

// A path that swallows packets is seen after PingEvery + PingTimeout by both
// sides; TCP alone would hold it open for a quarter of an hour.
const (
	// PingEvery is the silence after which a side asks whether the other is there;
	// 10 s is the least that grpc-go lets a client do.
	PingEvery = 10 * time.Second
	// PingTimeout is how long it waits for the answer.
	PingTimeout = 5 * time.Second
	// PingMinTime is how often a client may ping; a server's default of five minutes
	// answers ours with too_many_pings.
	PingMinTime = 5 * time.Second
	// ageGrace is how long a connection past its age may finish: without one an open
	// stream is never ended.
	ageGrace = 2 * time.Minute
)

// A client that pinged more often than servers allow would not compile.
var _ [PingEvery - PingMinTime]struct{}

// Keepalive are the dial options of a line that stays open for long.
func Keepalive() []grpc.DialOption {
	return []grpc.DialOption{grpc.WithKeepaliveParams(keepalive.ClientParameters{
		Time: PingEvery, Timeout: PingTimeout, PermitWithoutStream: true,
	})}
}

// lines are the options for connections over a network.
func lines(maxAge time.Duration) []grpc.ServerOption {
	params := keepalive.ServerParameters{Time: PingEvery, Timeout: PingTimeout}
	if maxAge > 0 {
		params.MaxConnectionAge, params.MaxConnectionAgeGrace = maxAge, ageGrace
	}
	return append(SmallBuffers(), grpc.KeepaliveParams(params),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: PingMinTime, PermitWithoutStream: true}))
}

// SmallBuffers cost a quarter less memory with thousands of mostly idle streams.
func SmallBuffers() []grpc.ServerOption {
	return []grpc.ServerOption{grpc.WriteBufferSize(4 << 10), grpc.ReadBufferSize(0)}
}

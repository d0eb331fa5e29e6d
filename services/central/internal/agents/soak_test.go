//go:build soak

package agents

import (
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/cloudoptim/cloudoptim/pkg/rpc"

	"github.com/cloudoptim/cloudoptim/services/central/internal/bus"
)

// TestF31TenThousandAgentsAreAllBack loses none of them and none of their tasks. How long it takes is a figure of
// the bench, stream.reconnect_10000_p95_s, whose target is a minute.
func TestF31TenThousandAgentsAreAllBack(t *testing.T) {
	storm(t, 10000, 0)
}

// TestF33AnIdleAgentIsNotToldThatItPingsTooMuch waits for more pings than a server
// that thinks so bears.
func TestF33AnIdleAgentIsNotToldThatItPingsTooMuch(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	r := h.replica(t, bus.New(), DefaultSettings())
	conn, err := grpc.NewClient(r.listen(t), append(rpc.Keepalive(), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	must(t, err)
	defer conn.Close()
	conn.Connect()
	for state := conn.GetState(); state != connectivity.Ready; state = conn.GetState() {
		conn.WaitForStateChange(t.Context(), state)
	}
	ended := make(chan struct{})
	go func() { conn.WaitForStateChange(t.Context(), connectivity.Ready); close(ended) }()
	select {
	case <-ended:
		t.Fatal("the connection was ended")
	case <-time.After(6 * rpc.PingEvery):
	}
}

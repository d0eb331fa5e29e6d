package rpc

import (
	"context"
	"net"

	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
)

// WithClientAddress is a context as a call of REST's has it, for what HTTP handlers do themselves.
func WithClientAddress(ctx context.Context, address string) context.Context {
	ctx = metadata.NewIncomingContext(ctx, metadata.Pairs(clientAddressKey, address))
	return peer.NewContext(ctx, &peer.Peer{Addr: inProcessAddr{}})
}

// ClientAddressHeader is where Front puts the address of the client, and takes away what the client itself
// says there. A server behind proxies puts the right one into its place.
const ClientAddressHeader = "X-Client-Address"

const clientAddressKey = "x-client-address"

// inProcess is the network of InProcess's connections.
const inProcess = "bufconn"

// inProcessAddr is the peer of calls that do not come over a network.
type inProcessAddr struct{}

func (inProcessAddr) Network() string { return inProcess }
func (inProcessAddr) String() string  { return inProcess }

// ClientAddress is the IP address that a call comes from, be it gRPC or REST; "" if it is not known.
func ClientAddress(ctx context.Context) string {
	from, ok := peer.FromContext(ctx)
	if !ok {
		return ""
	}
	if from.Addr.Network() != inProcess {
		return hostOf(from.Addr.String())
	}
	md, _ := metadata.FromIncomingContext(ctx)
	for _, address := range md.Get(clientAddressKey) {
		return address
	}
	return ""
}

func hostOf(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return host
}

package proc

import (
	"net"
	"slices"
	"strconv"
	"testing"
)

func TestFreePortsAreDifferentFreeAndOutOfReachOfOutgoingConnections(t *testing.T) {
	ports, err := FreePorts(50)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(ports)
	if len(slices.Compact(ports)) != 50 {
		t.Fatalf("not 50 different ones: %v", ports)
	}
	for _, port := range ports {
		if port < firstPort || port >= 32768 {
			t.Errorf("port %d", port)
		}
		lis, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			t.Errorf("port %d is not free: %v", port, err)
			continue
		}
		_ = lis.Close()
	}
	if _, err := FreePorts(portTries + 1); err == nil {
		t.Error("more were found than were tried")
	}
}

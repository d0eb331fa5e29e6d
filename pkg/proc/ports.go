package proc

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
)

// Ports from which a child gets one that it will listen on later. They lie below
// those that the kernel gives to outgoing connections (from 32768 on), any of which
// could else take the port in the meantime.
const (
	firstPort = 20000
	portCount = 12000
	portTries = 200
)

// FreePorts are n different ports of loopback on which nobody listens.
func FreePorts(n int) ([]int, error) {
	var ports []int
	for range portTries {
		port := firstPort + rand.N(portCount)
		lis, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			continue
		}
		defer lis.Close() // held until all are found, so that they differ
		if ports = append(ports, port); len(ports) == n {
			return ports, nil
		}
	}
	return nil, errors.New("no free ports on loopback")
}

// FreeAddress is a host and port of loopback on which nobody listens.
func FreeAddress() (string, error) {
	ports, err := FreePorts(1)
	if err != nil {
		return "", err
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[0])), nil
}

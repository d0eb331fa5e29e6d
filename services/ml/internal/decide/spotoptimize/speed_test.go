package spotoptimize

import (
	"fmt"
	"syscall"
	"testing"
	"time"
)

// BenchmarkDecide reports processor seconds beside wall time: they hardly change
// when others use the machine too.
func BenchmarkDecide(b *testing.B) {
	prices := testMarket(b)
	for _, size := range []sizes{{nodes: 40, pods: 300}, {nodes: 200, pods: 1500}, {nodes: 1500, pods: 8000}} {
		b.Run(fmt.Sprintf("nodes=%d/pods=%d", size.nodes, size.pods), func(b *testing.B) {
			state := generate(b, prices, size)
			start, n := processorTime(b), 0
			for b.Loop() {
				if _, err := Decide(request(state, nil), prices, testNow); err != nil {
					b.Fatal(err)
				}
				n++
			}
			b.ReportMetric((processorTime(b)-start).Seconds()/float64(n), "cpu-s/op")
		})
	}
}

func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

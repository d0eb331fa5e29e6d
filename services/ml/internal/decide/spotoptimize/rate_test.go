package spotoptimize

import (
	"fmt"
	"testing"
	"time"
)

func TestRate(t *testing.T) {
	prices := testMarket(t)
	for _, size := range []sizes{{nodes: 6, pods: 40}, {nodes: 12, pods: 90}, {nodes: 40, pods: 300}} {
		bad, all, worst := 0, 0, 0
		var took time.Duration
		cost, before := 0.0, 0.0
		for seed := range uint64(12) {
			size.seed = seed
			state := generate(t, prices, size)
			start := time.Now()
			a, err := Decide(request(state, nil), prices, testNow)
			if err != nil {
				t.Fatal(err)
			}
			took += time.Since(start)
			cost += a.Metadata.AsMap()["cost_after_per_hour"].(float64)
			before += a.Metadata.AsMap()["cost_before_per_hour"].(float64)
			if size.nodes == 40 && seed > 3 {
				continue
			}
			for r := range uint64(8) {
				all++
				if _, stuck := replay(t, prices, state, a, 100+r); len(stuck) > 0 {
					bad++
					worst = max(worst, len(stuck))
				}
			}
		}
		fmt.Printf("%d/%d: %d of %d replays stuck, worst %d, mean %v, cost %.4f\n", size.nodes, size.pods, bad, all, worst, took/12, cost/before)
	}
}

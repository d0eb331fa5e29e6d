package spotoptimize

import (
	"fmt"
	"testing"
)

func TestDebugStuck(t *testing.T) {
	prices := testMarket(t)
	state := generate(t, prices, sizes{seed: 0, nodes: 200, pods: 1500})
	want, l, _ := decode(request(state, nil))
	w := newWorld(state, prices)
	q := newProblem(w, l, want, w.columns(want, l))
	q.excludeImmovable()
	all := w.drainOrder(w.replaceable())
	o := q.pack(all, 0)
	fmt.Println("packed", len(o.plan.buy), o.ok(), o.limit)
	for i := range 8 {
		for _, s := range schedulers {
			r := w.rehearse(o.plan, q.waiting, s)
			kinds := map[string]int{}
			for _, p := range r.stuck {
				pod := w.book.Pod(p)
				kinds[fmt.Sprint(len(pod.TopologySpread) > 0 && pod.TopologySpread[0].TopologyKey == "kubernetes.io/hostname", len(pod.TopologySpread) > 0, len(pod.PodAntiAffinity) > 0, pod.NodeSelector, pod.VolumeZones)]++
			}
			fmt.Println(i, s.Noise, "stuck", len(r.stuck), kinds)
			if s.Noise == 0 && len(r.stuck) > 0 && i > 0 {
				for n := 0; n < min(3, len(r.stuck)); n++ {
					pod := w.book.Pod(r.stuck[n])
					fmt.Println("  ", pod.Name, pod.Requests, pod.TopologySpread, pod.NodeSelector)
				}
			}
		}
		stuck := w.firstFailure(o.plan, q.waiting)
		if len(stuck) == 0 {
			break
		}
		b := len(o.plan.buy)
		lim := q.addFor(&o.plan, stuck)
		fmt.Println("added", len(o.plan.buy)-b, lim)
	}
}

package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/cloudoptim/cloudoptim/services/lab/stage"
)

// bareCordons is the limit of a wave: 200 nodes patched by a client that does
// nothing else, fifty at a time, in this API server on this machine.
func (b *bench) bareCordons(ctx context.Context, client kubernetes.Interface) error {
	nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{Limit: 200})
	if err != nil {
		return err
	}
	began := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(50)
	for i := range nodes.Items {
		group.Go(func() error {
			patch := fmt.Appendf(nil, `{"metadata":{"annotations":{"bench.cloudoptim.io/bare":"%d"}}}`, i)
			_, err := client.CoreV1().Nodes().Patch(ctx, nodes.Items[i].Name, types.MergePatchType, patch, metav1.PatchOptions{})
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	b.note("interruption.bare_cordon_200_s", time.Since(began).Seconds(), "s", nil, "")
	return nil
}

// bareQueue is the limit of a burst: the same messages received and deleted by
// eight loops that do nothing else, from the same queue.
func (b *bench) bareQueue(ctx context.Context, s *stage.Stage, bodies []string) error {
	s.Central.Stop() // or it would take them
	if err := s.Send(ctx, bodies...); err != nil {
		return err
	}
	began := time.Now()
	var all sync.WaitGroup
	failures := make(chan error, 8)
	for range 8 {
		all.Go(func() {
			if err := s.DrainQueue(ctx); err != nil {
				failures <- err
			}
		})
	}
	all.Wait()
	select {
	case err := <-failures:
		return err
	default:
	}
	b.note("interruption.bare_queue_15000_s", time.Since(began).Seconds(), "s", nil, "")
	return nil
}

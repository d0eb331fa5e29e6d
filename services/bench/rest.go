package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"time"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	"github.com/cloudoptim/cloudoptim/pkg/rpc"

	"github.com/cloudoptim/cloudoptim/services/lab/stage"
)

const (
	warmUp = 200
	// restAfter lets the first snapshot of the cluster settle before memory is read.
	restAfter = 20 * time.Second
	// restWithin bounds the calls, restStart what comes before them.
	restWithin = 5 * time.Minute
	restStart  = 20 * time.Minute
)

// rest puts the servers on the stage, reads their memory while nothing is asked
// of them, and compares one call over REST with the same over gRPC.
func (b *bench) rest(ctx context.Context) error {
	dir, remove, err := scratch()
	if err != nil {
		return err
	}
	defer remove()
	starting, cancel := context.WithTimeout(ctx, restStart)
	defer cancel()
	s, err := stage.Up(starting, stage.Options{
		Bin: filepath.Join(b.root, "bin"), Source: b.root, Dir: dir,
		LabArgs: []string{"--nodes", fmt.Sprint(b.nodes), "--pods", fmt.Sprint(b.pods), "--seed", "1"},
		Say:     func(format string, args ...any) { fmt.Printf(format+"\n", args...) },
	})
	if err != nil {
		return err
	}
	defer s.Down()
	if err := b.memory(ctx, s); err != nil {
		return err
	}
	asking, cancel := context.WithTimeout(ctx, restWithin)
	defer cancel()
	return b.sideBySide(asking, s)
}

func (b *bench) memory(ctx context.Context, s *stage.Stage) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(restAfter):
	}
	for _, p := range []*stage.Process{s.Central, s.ML, s.Agent} {
		rss, err := p.RSS()
		if err != nil {
			return err
		}
		b.note("memory."+p.Name+"_mib", mib(rss), "MiB", nil, "")
	}
	return nil
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }

// sideBySide asks one after the other, in turns, so that both meet the same
// machine: what else runs on it slows down both.
func (b *bench) sideBySide(ctx context.Context, s *stage.Stage) error {
	conn, err := rpc.Dial(s.Addr("central.grpc"), rpc.DialConfig{APIKey: s.Admin.Key})
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	client := adminv1.NewAdminServiceClient(conn)
	overGRPC := func() error {
		resp, err := client.ListClusters(ctx, &adminv1.ListClustersRequest{})
		if err == nil && len(resp.GetClusters()) != 1 {
			err = fmt.Errorf("gRPC told of %d clusters, want 1", len(resp.GetClusters()))
		}
		return err
	}
	overREST := func() error { return listClusters(ctx, s.Admin) }
	var rest, grpc []time.Duration
	for i := range warmUp + b.calls {
		first, second := timed(overREST), timed(overGRPC)
		if i%2 == 1 { // who goes first finds the caches colder
			first, second = second, first
		}
		one, two := first(), second()
		if err := errors.Join(one.err, two.err); err != nil {
			return err
		}
		if i%2 == 1 {
			one, two = two, one
		}
		if i >= warmUp {
			rest, grpc = append(rest, one.took), append(grpc, two.took)
		}
	}
	const against = "same call over gRPC"
	slowREST, slowGRPC := percentile(rest, 99), percentile(grpc, 99)
	b.note("rest.p50_ms", millis(percentile(rest, 50)), "ms", nil, "")
	b.note("rest.p99_ms", millis(slowREST), "ms", nil, "")
	b.note("grpc.p50_ms", millis(percentile(grpc, 50)), "ms", nil, "")
	b.note("grpc.p99_ms", millis(slowGRPC), "ms", nil, "")
	b.note("rest.p99_over_grpc", float64(slowREST)/float64(slowGRPC), "times", atMost(3), against)
	return nil
}

// listClusters over REST, read into values as a client would.
func listClusters(ctx context.Context, at stage.REST) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.Base+"/api/v1/admin/clusters", nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+at.Key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	var clusters []map[string]any
	if err := json.Unmarshal(raw, &clusters); err != nil || resp.StatusCode != http.StatusOK || len(clusters) != 1 {
		return fmt.Errorf("REST answered %d %s, want one cluster (%w)", resp.StatusCode, raw, err)
	}
	return nil
}

// call is one call, timed.
type call struct {
	took time.Duration
	err  error
}

func timed(do func() error) func() call {
	return func() call {
		began := time.Now()
		err := do()
		return call{time.Since(began), err}
	}
}

// percentile p of what was measured, by nearest rank: one of the values, not one made up.
func percentile(all []time.Duration, p int) time.Duration {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[max(0, (len(sorted)*p+99)/100-1)]
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

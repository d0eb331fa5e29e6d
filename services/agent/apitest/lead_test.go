package apitest

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/cloudoptim/cloudoptim/services/agent/internal/lead"
)

// bulletin is what a candidate says and heard.
type bulletin struct {
	mu          sync.Mutex
	said, heard string
}

func (b *bulletin) Said() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.said
}

func (b *bulletin) Heard(line string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.heard = line
}

// candidate is an Elector in this process; cut makes its API server unreachable.
type candidate struct {
	*lead.Elector
	bulletin
	cut, abstains atomic.Bool
	working       atomic.Bool
	stop          func() error
}

type cuttable struct {
	http.RoundTripper
	cut *atomic.Bool
}

func (c *cuttable) RoundTrip(r *http.Request) (*http.Response, error) {
	if c.cut.Load() {
		return nil, errors.New("the line is cut")
	}
	return c.RoundTripper.RoundTrip(r)
}

func stand(t *testing.T, name, namespace string) *candidate {
	t.Helper()
	c := &candidate{}
	cfg := rest.CopyConfig(kube.agent)
	cfg.Wrap(func(rt http.RoundTripper) http.RoundTripper { return &cuttable{rt, &c.cut} })
	client, err := kubernetes.NewForConfig(cfg)
	require(t, err)
	c.Elector = lead.New(lead.Config{
		Client: client, Namespace: namespace, Name: leaseName, Identity: name, Bulletin: &c.bulletin,
		Abstains: func(context.Context) bool { return c.abstains.Load() }, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		for {
			err := c.Run(ctx, func(ctx context.Context) error {
				c.working.Store(true)
				defer c.working.Store(false)
				<-ctx.Done()
				return nil
			})
			if !errors.Is(err, lead.ErrYielded) || ctx.Err() != nil {
				ended <- err
				return
			}
		}
	}()
	c.stop = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() { _ = c.stop() })
	return c
}

// watchFences fails the test if two candidates ever hold the lease at once.
func watchFences(t *testing.T, all []*candidate) {
	t.Helper()
	done := make(chan struct{})
	var wait sync.WaitGroup
	wait.Go(func() {
		ticker := time.NewTicker(5 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
			}
			// Twice: the first of two looks at different moments proves nothing.
			held := slices.DeleteFunc(slices.Clone(all), func(c *candidate) bool { return !c.Held() })
			if len(held) > 1 && held[0].Held() && held[1].Held() && held[0].Held() {
				t.Error("two hold the lease at once")
				return
			}
		}
	})
	t.Cleanup(func() { close(done); wait.Wait() })
}

func leads(all []*candidate) *candidate {
	for _, c := range all {
		if c.Held() && c.working.Load() {
			return c
		}
	}
	return nil
}

func TestF38OneOfManyLeadsAndItsFenceFallsBeforeTheLeaseDoes(t *testing.T) {
	p := newPlot(t)
	freeLease(t)
	t.Cleanup(func() { freeLease(t) })
	all := []*candidate{stand(t, p.name+"-1", "cloudoptim"), stand(t, p.name+"-2", "cloudoptim"), stand(t, p.name+"-3", "cloudoptim")}
	watchFences(t, all)
	next := func(what string, after int64) *candidate {
		t.Helper()
		var now *candidate
		await(t, what, func() bool { now = leads(all); return now != nil && now.Epoch() > after })
		return now
	}
	first := next("one to lead", 0)
	first.bulletin.mu.Lock()
	first.said = "the word of the first"
	first.bulletin.mu.Unlock()
	for _, c := range all {
		if c != first {
			await(t, "the others to hear it", func() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.heard == "the word of the first" })
		}
	}

	// It gives the lease up: the work stops first, and an abstaining one leaves it to the other.
	heir := all[(slices.Index(all, first)+1)%3]
	other := all[(slices.Index(all, first)+2)%3]
	first.abstains.Store(true)
	other.abstains.Store(true)
	if !first.Yield() || other.Yield() {
		t.Fatal("who leads may yield, nobody else")
	}
	second := next("the heir to lead", first.Epoch())
	if second != heir || first.Held() || first.working.Load() {
		t.Fatalf("the lease did not go to the one who stays")
	}

	// It is cut off: its fence falls within the ten seconds, the lease only after fifteen.
	second.cut.Store(true)
	cutAt := time.Now()
	await(t, "its fence to fall", func() bool { return !second.Held() })
	if took := time.Since(cutAt); took > 12*time.Second {
		t.Errorf("the fence fell after %s", took)
	}
	if err := func() error { await(t, "it to stop", func() bool { return !second.working.Load() }); return nil }(); err != nil {
		t.Fatal(err)
	}
	// Both others abstain: somebody has to lead for all that.
	third := next("one who abstained to lead", second.Epoch())
	if third == second || third.MayYield() {
		t.Fatal("who took the lease for want of others gives it away at once")
	}
	if err := second.stop(); err != nil && !errors.Is(err, lead.ErrLost) {
		t.Fatalf("it ended with %v", err)
	}
	if err := third.stop(); err != nil {
		t.Fatalf("asked to stop: %v", err)
	}
}

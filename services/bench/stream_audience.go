package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

// audience are many dashboards.
type audience struct {
	boards []*board
	cancel context.CancelFunc
	all    sync.WaitGroup
	// timing is set while deliveries count.
	timing atomic.Bool
	failed chan error
}

// board is one dashboard: it notes when a message came, and whether all did.
type board struct {
	audience *audience
	last     atomic.Int64
	// heard and what follows are written by the one who reads, and read when all is quiet.
	heard, lost, doubled int64
	took                 []time.Duration
}

// heard is what became of the messages while deliveries counted.
type heard struct {
	took          []time.Duration
	lost, doubled int64
	// least is what the dashboard heard that heard least.
	least int64
}

// audience opens the dashboards, by turns on each central.
func (w *streamWorld) audience(ctx context.Context) (*audience, error) {
	ctx, cancel := context.WithCancel(ctx)
	a := &audience{cancel: cancel, failed: make(chan error, w.bench.screens)}
	for n := range w.bench.screens {
		ws, _, err := websocket.Dial(ctx, "ws://"+w.doors[n%len(w.doors)]+"/api/v1/admin/stream",
			&websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + w.admin}}})
		if err != nil {
			a.close()
			return nil, fmt.Errorf("opening dashboard %d: %w", n, err)
		}
		ws.SetReadLimit(1 << 20)
		b := &board{audience: a, took: make([]time.Duration, 0, int(streamFor.Seconds())*updates*11/10)}
		b.last.Store(-1)
		a.boards = append(a.boards, b)
		a.all.Go(func() {
			defer func() { _ = ws.CloseNow() }()
			if err := b.watch(ctx, ws); err != nil && ctx.Err() == nil {
				a.failed <- err
			}
		})
	}
	return a, nil
}

func (a *audience) close() {
	a.cancel()
	a.all.Wait()
}

func (a *audience) begin() { a.timing.Store(true) }

// settle waits until all dashboards are as far as the first, and sums up.
func (a *audience) settle(ctx context.Context) (heard, error) {
	ctx, cancel := context.WithTimeout(ctx, streamLate)
	defer cancel()
	for newest, since := int64(0), time.Now(); ; {
		select {
		case err := <-a.failed:
			return heard{}, err
		default:
		}
		least, most := a.boards[0].last.Load(), int64(0)
		for _, b := range a.boards {
			least, most = min(least, b.last.Load()), max(most, b.last.Load())
		}
		if most > newest {
			newest, since = most, time.Now()
		}
		if least == newest && time.Since(since) > 2*time.Second {
			break
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return heard{}, fmt.Errorf("waiting for all to hear %d, %d do not, one is at %d: %w", newest, a.behind(newest), least, err)
		}
	}
	a.close()
	out := heard{least: a.boards[0].heard}
	for _, b := range a.boards {
		out.took = append(out.took, b.took...)
		out.lost, out.doubled, out.least = out.lost+b.lost, out.doubled+b.doubled, min(out.least, b.heard)
	}
	slices.Sort(out.took)
	return out, nil
}

func (a *audience) behind(newest int64) int {
	n := 0
	for _, b := range a.boards {
		if b.last.Load() < newest {
			n++
		}
	}
	return n
}

var (
	sequenceField  = []byte(`"sequence":"`)
	timestampField = []byte(`"timestamp":"`)
)

// watch reads a stream. Nobody else belongs to the customer, so numbers have no gaps.
func (b *board) watch(ctx context.Context, ws *websocket.Conn) error {
	buffer := &bytes.Buffer{}
	for {
		_, reader, err := ws.Reader(ctx)
		if err != nil {
			return fmt.Errorf("a dashboard's stream: %w", err)
		}
		buffer.Reset()
		if _, err := buffer.ReadFrom(reader); err != nil {
			return fmt.Errorf("a dashboard's stream: %w", err)
		}
		at := time.Now()
		frame := buffer.Bytes()
		if !bytes.HasPrefix(frame, []byte(`{"type":"policy"`)) {
			if bytes.HasPrefix(frame, []byte(`{"type":"bye"`)) || bytes.HasPrefix(frame, []byte(`{"type":"reset"`)) {
				return fmt.Errorf("a dashboard heard %s", frame)
			}
			continue
		}
		if err := b.note(frame, at); err != nil {
			return err
		}
	}
}

func (b *board) note(frame []byte, at time.Time) error {
	// The event between the two may have fields of these names: the message's own are the first and the last.
	sequence, err := strconv.ParseInt(field(frame[max(0, bytes.LastIndex(frame, sequenceField)):], sequenceField), 10, 64)
	if err != nil {
		return fmt.Errorf("reading %s: %w", frame, err)
	}
	last := b.last.Load()
	switch {
	case last >= 0 && sequence <= last:
		b.doubled++
		return nil
	case last >= 0:
		b.lost += sequence - last - 1
	}
	b.last.Store(sequence)
	if !b.audience.timing.Load() {
		return nil
	}
	told, err := time.Parse(time.RFC3339Nano, field(frame, timestampField))
	if err != nil {
		return fmt.Errorf("reading %s: %w", frame, err)
	}
	b.heard++
	b.took = append(b.took, at.Sub(told))
	return nil
}

// field is the text behind a name.
func field(frame, name []byte) string {
	_, rest, _ := bytes.Cut(frame, name)
	value, _, _ := bytes.Cut(rest, []byte(`"`))
	return string(value)
}

// send sends a JSON body over a client of many connections.
func send(ctx context.Context, client *http.Client, method, url, key, body string) error {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	raw, err := io.ReadAll(resp.Body)
	err = errors.Join(err, resp.Body.Close())
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("%s %s: %d %s", method, url, resp.StatusCode, raw)
	}
	return err
}

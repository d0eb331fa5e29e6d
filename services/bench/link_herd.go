package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/cloudoptim/cloudoptim/pkg/proc"
)

// herd is a process of agents.
type herd struct {
	child *proc.Child
	in    io.WriteCloser
	said  chan word
}

// word is what the herd says.
type word struct {
	What string        `json:"what"`
	At   time.Time     `json:"at"`
	Took time.Duration `json:"took,omitempty"`
}

func startHerd(self, address string, agents []string) (*herd, error) {
	cmd := exec.Command(self, partHerd, address)
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	cmd.Stderr = os.Stderr
	child, err := proc.Start("agents", cmd)
	if err != nil {
		return nil, err
	}
	h := &herd{child: child, in: in, said: make(chan word, 4*len(agents))}
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var w word
			if json.Unmarshal(lines.Bytes(), &w) == nil {
				h.said <- w
			}
		}
		close(h.said)
	}()
	_, err = io.WriteString(in, strings.Join(agents, "\n")+"\n")
	return h, err
}

func (h *herd) say(what string) error {
	_, err := io.WriteString(h.in, what+"\n")
	return err
}

// next waits for a word, past others.
func (h *herd) next(ctx context.Context, what string) (word, error) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	for {
		select {
		case said, ok := <-h.said:
			if !ok {
				return word{}, errors.New("the agents' process has ended")
			}
			if said.What == what {
				return said, nil
			}
		case <-ctx.Done():
			return word{}, fmt.Errorf("waiting for %s: %w", what, ctx.Err())
		}
	}
}

// welcomes waits until n agents were welcomed.
func (h *herd) welcomes(ctx context.Context, n int) ([]time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	var at []time.Time
	for len(at) < n {
		select {
		case said, ok := <-h.said:
			if !ok {
				return nil, errors.New("the agents' process has ended")
			}
			if said.What == "welcome" {
				at = append(at, said.At)
			}
		case <-ctx.Done():
			return nil, fmt.Errorf("%d of %d agents were welcomed: %w", len(at), n, ctx.Err())
		}
	}
	return at, nil
}

// drain forgets what was said.
func (h *herd) drain() {
	for {
		select {
		case <-h.said:
		default:
			return
		}
	}
}

func (h *herd) close() {
	_ = h.in.Close()
	h.child.Stop(5 * time.Second)
}

// pings lets agents ask the bare server, one at a time.
func (h *herd) pings(ctx context.Context) ([]time.Duration, error) {
	var took []time.Duration
	for range asks {
		if err := pause(ctx, breather); err != nil {
			return nil, err
		}
		if err := h.say("ping"); err != nil {
			return nil, err
		}
		said, err := h.next(ctx, "pong")
		if err != nil {
			return nil, err
		}
		took = append(took, said.Took)
	}
	return took, nil
}

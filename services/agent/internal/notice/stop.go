package notice

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"
)

// openStop reads the stop that an earlier process kept. One that cannot be read
// holds: to do nothing is what can be made good.
func (p *Policies) openStop() {
	text, err := os.ReadFile(p.stopFile)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err == nil {
		p.stop, err = decodeStop(text)
	}
	if err != nil {
		p.log.Warn("the stop that was kept cannot be read, so it holds until central is heard", "error", err)
		p.stop = &agentv1.SafetyStop{Reason: "the stop that the agent kept cannot be read"}
	}
}

// decodeStop reads a stop; null is none.
func decodeStop(text []byte) (*agentv1.SafetyStop, error) {
	if string(text) == "null" {
		return nil, nil //nolint:nilnil // no stop is an answer
	}
	stop := &agentv1.SafetyStop{}
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(text, stop); err != nil {
		return nil, fmt.Errorf("reading the stop: %w", err)
	}
	return stop, nil
}

// Stop is the stop that holds; nil: none does.
func (p *Policies) Stop() *agentv1.SafetyStop {
	p.mu.Lock()
	defer p.mu.Unlock()
	return proto.CloneOf(p.stop)
}

// SetStop takes central's word; nil: none holds.
func (p *Policies) SetStop(stop *agentv1.SafetyStop) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if (p.stop == nil) == (stop == nil) && proto.Equal(p.stop, stop) {
		return
	}
	p.stop = proto.CloneOf(stop)
	if stop == nil {
		p.log.Warn("the stop is lifted")
	} else {
		p.log.Warn("a stop holds", "reason", stop.GetReason(), "include_interruptions", stop.GetIncludeInterruptions())
	}
	if err := p.keepStop(); err != nil {
		p.log.Error("keeping the stop", "error", err) // it counts as long as this process lives
	}
}

func (p *Policies) keepStop() error {
	if p.stop != nil {
		return replace(p.stopFile, encode(p.stop))
	}
	if err := os.Remove(p.stopFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing the file of the stop: %w", err)
	}
	return nil
}

// withStop adds the stop to the policy's line for the lease. Null is said too: who
// never heard of stops says nothing of them, and then what was kept counts.
func (p *Policies) withStop(policy *agentv1.InterruptionPolicy) string {
	fields := map[string]json.RawMessage{}
	if json.Unmarshal([]byte(encode(policy)), &fields) != nil {
		return ""
	}
	fields["stop"] = json.RawMessage("null")
	if p.stop != nil {
		fields["stop"] = json.RawMessage(encode(p.stop))
	}
	text, err := json.Marshal(fields)
	if err != nil {
		return ""
	}
	return string(text)
}

// heardStop takes the stop from the leader's line.
func (p *Policies) heardStop(line string) {
	var said struct {
		Stop json.RawMessage `json:"stop"`
	}
	if json.Unmarshal([]byte(line), &said) != nil || said.Stop == nil {
		return
	}
	stop, err := decodeStop(said.Stop)
	if err != nil {
		p.log.Warn("the stop on the lease cannot be used", "error", err)
		return
	}
	p.SetStop(stop)
}

// replace a file as a whole: half an order would be none. It is synced, as what
// central ordered must outlive the machine's power.
func replace(path, text string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("making the state folder: %w", err)
	}
	file, err := os.OpenFile(path+".tmp", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("opening %s: %w", filepath.Base(path), err)
	}
	_, err = file.WriteString(text)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", filepath.Base(path), err)
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return fmt.Errorf("replacing %s: %w", filepath.Base(path), err)
	}
	return nil
}

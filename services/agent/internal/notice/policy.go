package notice

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
)

// Policies is what the customer wants done about notices when central cannot be
// asked, and whether a stop holds. Central tells the leader, the leader writes it
// on the lease, all others read it there; each keeps it in files.
type Policies struct {
	file, stopFile string
	log            *slog.Logger

	mu      sync.Mutex
	current *agentv1.InterruptionPolicy // nil: nobody said anything yet
	stop    *agentv1.SafetyStop         // nil: none holds
}

// byDefault acts: an instance that AWS takes is lost with whatever runs on it.
func byDefault() *agentv1.InterruptionPolicy {
	return &agentv1.InterruptionPolicy{Cordon: true, Drain: true, Parameters: &fleetv1.DrainNodeParameters{Force: true}}
}

// OpenPolicies reads what an earlier process kept in a file. One that cannot be
// read is as good as none, and is said so.
func OpenPolicies(file string, log *slog.Logger) *Policies {
	p := &Policies{file: file, stopFile: filepath.Join(filepath.Dir(file), "safety-stop.json"), log: log}
	p.openStop()
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return p
	}
	if err == nil {
		p.current, err = decode(string(text))
	}
	if err != nil {
		log.Warn("the interruption policy that was kept cannot be read, the default counts", "error", err)
	}
	return p
}

func decode(text string) (*agentv1.InterruptionPolicy, error) {
	policy := &agentv1.InterruptionPolicy{}
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal([]byte(text), policy); err != nil {
		return nil, fmt.Errorf("reading the interruption policy: %w", err)
	}
	if err := check(policy); err != nil {
		return nil, err
	}
	return policy, nil
}

// check looks at the parameters as they will be used, with a node's name.
func check(policy *agentv1.InterruptionPolicy) error {
	params := proto.CloneOf(policy.GetParameters())
	if params == nil {
		return nil
	}
	params.NodeName = "a-node"
	if err := protovalidate.Validate(params); err != nil {
		return fmt.Errorf("checking the interruption policy: %w", err)
	}
	return nil
}

// Current is the policy that counts: while a stop includes interruptions, to do nothing.
func (p *Policies) Current() *agentv1.InterruptionPolicy {
	p.mu.Lock()
	defer p.mu.Unlock()
	counts := p.said()
	if p.stop.GetIncludeInterruptions() {
		counts.Cordon, counts.Drain = false, false
	}
	return counts
}

// said is the policy whatever a stop says, as a copy.
func (p *Policies) said() *agentv1.InterruptionPolicy {
	if p.current == nil {
		return byDefault()
	}
	return proto.CloneOf(p.current)
}

// SetPolicy takes central's word; nil changes nothing.
func (p *Policies) SetPolicy(policy *agentv1.InterruptionPolicy) {
	if policy == nil {
		return
	}
	if err := check(policy); err != nil {
		p.log.Warn("central's interruption policy cannot be used, the one before counts", "error", err)
		return
	}
	p.set(proto.CloneOf(policy))
}

// Said is the policy and the stop as a line, for the lease.
func (p *Policies) Said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current == nil && p.stop == nil {
		return ""
	}
	return p.withStop(p.said())
}

// Heard takes what the leader wrote on the lease.
func (p *Policies) Heard(line string) {
	policy, err := decode(line)
	if err != nil {
		p.log.Warn("the interruption policy on the lease cannot be used", "error", err)
		return
	}
	p.set(policy)
	p.heardStop(line)
}

func (p *Policies) set(policy *agentv1.InterruptionPolicy) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if proto.Equal(p.current, policy) {
		return
	}
	p.current = policy
	p.log.Info("the interruption policy is now", "cordon", policy.GetCordon(), "drain", policy.GetDrain(),
		"force", policy.GetParameters().GetForce())
	if err := replace(p.file, encode(p.current)); err != nil {
		p.log.Error("keeping the interruption policy", "error", err) // it counts as long as this process lives
	}
}

func encode(order proto.Message) string {
	raw, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(order)
	if err != nil {
		return "" // only invalid UTF-8, which the wire refused
	}
	return string(compact(raw))
}

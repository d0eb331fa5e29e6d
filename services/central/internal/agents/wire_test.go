package agents

import (
	"bufio"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/pkg/rpc"

	"github.com/cloudoptim/cloudoptim/services/central/internal/bus"
)

var record = flag.Bool("record", false, "write testdata/wire.txt anew: only for kinds that are added")

const (
	fixtures = "testdata/wire.txt"
	// somebody is the cluster of the fixtures.
	somebody = "7f9c24e8-3b1a-4a6e-9d57-0c1f3a2b4d5e"
)

// samples are what agents of protocol 1 say, a message of each kind.
func samples() map[string]*agentv1.ConnectRequest {
	at := timestamppb.New(time.Unix(1800000000, 0))
	all := map[string]*agentv1.ConnectRequest{
		"hello": {Kind: &agentv1.ConnectRequest_Hello{Hello: &agentv1.Hello{
			Protocol: 1, ClusterId: somebody, AgentId: "agent-0", AgentEpoch: 7, Version: "v1", KubernetesVersion: "v1.31",
			TaskTypes: []string{"drain_node"}, Running: []*agentv1.RunningTask{{TaskId: somebody, Attempt: 1}}, InventorySequence: 4, LeaderEpoch: 2,
		}}},
		"task_accepted": {Kind: &agentv1.ConnectRequest_TaskAccepted{TaskAccepted: &agentv1.TaskAccepted{TaskId: somebody, Attempt: 1}}},
		"task_progress": {Kind: &agentv1.ConnectRequest_TaskProgress{TaskProgress: &fleetv1.TaskProgress{
			TaskId: somebody, Attempt: 1, Fraction: 0.5, Message: "half", Drain: &fleetv1.DrainReport{NodeName: "n", Phase: "draining"},
		}}},
		"task_result": {Kind: &agentv1.ConnectRequest_TaskResult{TaskResult: &fleetv1.TaskResult{
			TaskId: somebody, Status: "success", ExecutedAt: at, DurationSeconds: 12.5, Logs: "done", Attempt: 1,
		}}},
		"heartbeat": {Kind: &agentv1.ConnectRequest_Heartbeat{Heartbeat: &agentv1.Heartbeat{Status: "healthy", Timestamp: at}}},
		"metrics": {Kind: &agentv1.ConnectRequest_Metrics{Metrics: &fleetv1.ClusterMetrics{
			ClusterId: somebody, Timestamp: at, TotalNodes: 2,
		}}},
		"events": {Kind: &agentv1.ConnectRequest_Events{Events: &agentv1.EventBatch{Events: []*fleetv1.Event{{
			EventId: "e", Type: "Normal", Reason: "Killing", ObjectKind: "Pod", ObjectName: "p", LastSeen: at,
		}}}}},
		"inventory_snapshot": {Kind: &agentv1.ConnectRequest_InventorySnapshot{InventorySnapshot: &agentv1.InventorySnapshot{
			InventorySequence: 5, Last: true, Nodes: []*fleetv1.NodeMetric{{NodeName: "n", NodeType: "spot", InstanceId: "i-1"}},
		}}},
		"inventory_delta": {Kind: &agentv1.ConnectRequest_InventoryDelta{InventoryDelta: &agentv1.InventoryDelta{
			InventorySequence: 6, DeletedNodes: []string{"n"},
		}}},
		"unsupported": {Kind: &agentv1.ConnectRequest_Unsupported{Unsupported: &agentv1.Unsupported{Sequence: 4, Reason: "what?"}}},
		"node_notice": {Kind: &agentv1.ConnectRequest_NodeNotice{NodeNotice: &fleetv1.NodeNotice{
			NoticeId: "n-1", EventType: "interruption_warning", NodeName: "n", InstanceId: "i-1", Action: "terminate", ActionTime: at,
			RemainingSeconds: 118, NoticedAt: at, TaskId: somebody,
		}}},
	}
	for i, name := range slices.Sorted(func(yield func(string) bool) {
		for k := range all {
			if !yield(k) {
				return
			}
		}
	}) {
		all[name].Sequence = int64(i + 1)
	}
	return all
}

// TestF41WhatAgentsOfProtocol1SayIsUnderstoodForEver holds the bytes that agents
// in the field send: a central that reads them differently is broken.
func TestF41WhatAgentsOfProtocol1SayIsUnderstoodForEver(t *testing.T) {
	all := samples()
	if *record {
		var text strings.Builder
		for name, msg := range all {
			raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(msg)
			must(t, err)
			fmt.Fprintf(&text, "%s %s\n", name, hex.EncodeToString(raw))
		}
		must(t, os.WriteFile(fixtures, []byte(text.String()), 0o600))
	}
	t.Parallel()
	h := newHouse(t)
	heard := &interruptions{}
	r := h.replica(t, bus.New(), DefaultSettings(), func(cfg *Config) { cfg.Interruptions = heard })
	l, _ := r.session(t, h)
	read := readFixtures(t)
	for name, raw := range read {
		got := &agentv1.ConnectRequest{}
		must(t, proto.Unmarshal(raw, got))
		if !proto.Equal(got, all[name]) || len(got.ProtoReflect().GetUnknown()) > 0 {
			t.Errorf("%s is read as %v", name, got)
		}
		must(t, rpc.Validate(got))
		if name == "hello" || name == "metrics" { // once, and of its own cluster alone
			continue
		}
		l.say(t, got)
	}
	l.heartbeat(t)
	for msg := l.next(t); msg.GetHeartbeatAck() == nil; msg = l.next(t) {
		if refused := msg.GetUnsupported(); refused != nil {
			t.Errorf("message %d was refused: %s", refused.GetSequence(), refused.GetReason())
		}
	}
	if kinds := (&agentv1.ConnectRequest{}).ProtoReflect().Descriptor().Oneofs().ByName("kind").Fields().Len(); len(read) != kinds {
		t.Errorf("%d fixtures for %d kinds: record the new ones", len(read), kinds)
	}
}

func readFixtures(t *testing.T) map[string][]byte {
	t.Helper()
	file, err := os.Open(fixtures)
	must(t, err)
	defer file.Close()
	all := map[string][]byte{}
	for lines := bufio.NewScanner(file); lines.Scan(); {
		name, text, _ := strings.Cut(lines.Text(), " ")
		raw, err := hex.DecodeString(text)
		must(t, err)
		all[name] = raw
	}
	return all
}

// FuzzWhatAgentsSay: whatever comes over the line, it is understood, or refused in words.
func FuzzWhatAgentsSay(f *testing.F) {
	for _, msg := range samples() {
		raw, err := proto.Marshal(msg)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		msg := &agentv1.ConnectRequest{}
		if proto.Unmarshal(raw, msg) != nil {
			return
		}
		if rpc.Validate(msg) != nil {
			return
		}
		key, urgent := incomingKey(msg)
		q := queue[*agentv1.ConnectRequest]{}
		for range 2 { // said twice, it waits once if it has a key
			q.put(entry[*agentv1.ConnectRequest]{key, msg, proto.Size(msg)}, urgent)
		}
		if want := map[bool]int{true: 2, false: 1}[key == ""]; q.len() != want {
			t.Fatalf("%q waits %d times", key, q.len())
		}
		for range q.len() {
			if got, ok := q.take(); !ok || got != msg {
				t.Fatal("lost")
			}
		}
		if q.bytes != 0 {
			t.Fatalf("%d bytes remain", q.bytes)
		}
		for _, id := range []string{msg.GetTaskAccepted().GetTaskId(), msg.GetTaskProgress().GetTaskId()} {
			if id != "" && uuid.Validate(id) != nil {
				t.Fatalf("%q passed as a task id", id)
			}
		}
	})
}

package link

import (
	"bufio"
	"encoding/hex"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
)

var record = flag.Bool("record", false, "write testdata/wire.txt anew: only for kinds that are added")

const fixtures = "testdata/wire.txt"

// samples are what central of protocol 1 says, a message of each kind.
func samples() map[string]*agentv1.ConnectResponse {
	at := timestamppb.New(time.Unix(1800000000, 0))
	const id = "7f9c24e8-3b1a-4a6e-9d57-0c1f3a2b4d5e"
	all := map[string]*agentv1.ConnectResponse{
		"welcome": {Kind: &agentv1.ConnectResponse_Welcome{Welcome: &agentv1.Welcome{
			SessionId: id, SessionEpoch: 3, ServerId: "r1", ServerTime: at, NeedInventory: true, AbandonTaskIds: []string{id},
			Settings: &agentv1.Settings{
				HeartbeatSeconds: 5, MetricsSeconds: 15, ProgressSeconds: 5, InventorySeconds: 0.5, MaxInflightTasks: 64,
				Interruption: &agentv1.InterruptionPolicy{Cordon: true, Drain: true, Parameters: &fleetv1.DrainNodeParameters{Force: true}},
			},
		}}},
		"task": {Kind: &agentv1.ConnectResponse_Task{Task: &fleetv1.Task{
			TaskId: id, ClusterId: id, TaskType: "drain_node", Priority: 1, Deadline: at, Attempt: 2, LeaseSeconds: 30, RemainingSeconds: 110.5,
		}}},
		"task_cancel":      {Kind: &agentv1.ConnectResponse_TaskCancel{TaskCancel: &agentv1.TaskCancel{TaskId: id, Attempt: 2, Reason: "over"}}},
		"result_ack":       {Kind: &agentv1.ConnectResponse_ResultAck{ResultAck: &agentv1.ResultAck{TaskId: id, Accepted: true}}},
		"heartbeat_ack":    {Kind: &agentv1.ConnectResponse_HeartbeatAck{HeartbeatAck: &agentv1.HeartbeatAck{ServerTime: at}}},
		"inventory_ack":    {Kind: &agentv1.ConnectResponse_InventoryAck{InventoryAck: &agentv1.InventoryAck{InventorySequence: 9}}},
		"inventory_resync": {Kind: &agentv1.ConnectResponse_InventoryResync{InventoryResync: &agentv1.InventoryResync{Reason: "a gap"}}},
		"settings":         {Kind: &agentv1.ConnectResponse_Settings{Settings: &agentv1.Settings{HeartbeatSeconds: 7}}},
		"go_away":          {Kind: &agentv1.ConnectResponse_GoAway{GoAway: &agentv1.GoAway{Reason: "age", ReconnectAfterSeconds: 1.5}}},
		"unsupported":      {Kind: &agentv1.ConnectResponse_Unsupported{Unsupported: &agentv1.Unsupported{Sequence: 4, Reason: "what?"}}},
		"node_notice_ack":  {Kind: &agentv1.ConnectResponse_NodeNoticeAck{NodeNoticeAck: &agentv1.NodeNoticeAck{NoticeId: "n-1"}}},
	}
	for i, name := range slices.Sorted(keys(all)) {
		all[name].Sequence = int64(i + 1)
	}
	return all
}

func keys[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// TestF41WhatCentralOfProtocol1SaysIsUnderstoodForEver holds the bytes that
// centrals in the field send: an agent that reads them differently is broken.
func TestF41WhatCentralOfProtocol1SaysIsUnderstoodForEver(t *testing.T) {
	all := samples()
	if *record {
		var text strings.Builder
		for _, name := range slices.Sorted(keys(all)) {
			raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(all[name])
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&text, "%s %s\n", name, hex.EncodeToString(raw))
		}
		if err := os.WriteFile(fixtures, []byte(text.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	seen := 0
	for name, raw := range readFixtures(t) {
		got := &agentv1.ConnectResponse{}
		if err := proto.Unmarshal(raw, got); err != nil {
			t.Fatal(err)
		}
		if !proto.Equal(got, all[name]) {
			t.Errorf("%s is read as %v", name, got)
		}
		if len(got.ProtoReflect().GetUnknown()) > 0 {
			t.Errorf("%s has unknown fields", name)
		}
		if name != "welcome" && name != "go_away" { // which are not obeyed but lived by
			if err := obeying().attempt(got); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		seen++
	}
	if kinds := (&agentv1.ConnectResponse{}).ProtoReflect().Descriptor().Oneofs().ByName("kind").Fields().Len(); seen != kinds {
		t.Errorf("%d fixtures for %d kinds: record the new ones", seen, kinds)
	}
}

func readFixtures(t *testing.T) map[string][]byte {
	t.Helper()
	file, err := os.Open(fixtures)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	all := map[string][]byte{}
	for lines := bufio.NewScanner(file); lines.Scan(); {
		name, text, _ := strings.Cut(lines.Text(), " ")
		raw, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		all[name] = raw
	}
	return all
}

// obeying is a session with rooms that take everything.
func obeying() *session {
	r := &rooms{}
	return &session{
		beat: make(chan time.Duration, 1), away: make(chan *goAway, 1), abort: func(error) {},
		client: New(Config{Tasks: r, Inventory: inventory{r}, Outbox: &Outbox{}, Log: slog.New(slog.DiscardHandler), Notices: &notices{}, Policy: &policies{}}),
	}
}

// FuzzWhatCentralSays: whatever comes over the line, the agent lives.
func FuzzWhatCentralSays(f *testing.F) {
	for _, msg := range samples() {
		raw, err := proto.Marshal(msg)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(_ *testing.T, raw []byte) {
		msg := &agentv1.ConnectResponse{}
		if proto.Unmarshal(raw, msg) != nil {
			return
		}
		s := obeying()
		if g := msg.GetGoAway(); g != nil {
			_ = s.goAway(g)
			return
		}
		_ = s.obey(msg) // not attempt: a panic must show here
	})
}

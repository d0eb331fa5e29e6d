package link

import (
	"context"
	"time"

	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"
)

// repeat says again what central did not acknowledge, until the session ends: it
// may have been unable to commit it. A new notice is said at once.
func (s *session) repeat(ctx context.Context) {
	tick := time.NewTicker(resendEvery)
	defer tick.Stop()
	var changed <-chan struct{}
	if s.client.cfg.Notices != nil {
		changed = s.client.cfg.Notices.Changed()
	}
	before := s.unacknowledged()
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
			s.sayNotices()
		case <-tick.C:
			s.sayNotices()
			s.sayResults(func(task string) bool { return before[task] })
			before = s.unacknowledged()
		}
	}
}

func (s *session) unacknowledged() map[string]bool {
	tasks := map[string]bool{}
	for _, result := range s.client.cfg.Tasks.Results() {
		tasks[result.GetTaskId()] = true
	}
	return tasks
}

// sayNotices says all that are pending; false: the session has ended.
func (s *session) sayNotices() bool {
	if s.client.cfg.Notices == nil {
		return true
	}
	for _, notice := range s.client.cfg.Notices.Pending() {
		if s.lanes.wait(&agentv1.ConnectRequest{Kind: &agentv1.ConnectRequest_NodeNotice{NodeNotice: notice}}) != nil {
			return false
		}
	}
	return true
}

// sayResults says those that are wanted of the results central has not got;
// false: the session has ended.
func (s *session) sayResults(wanted func(task string) bool) bool {
	for _, result := range s.client.cfg.Tasks.Results() {
		if !wanted(result.GetTaskId()) {
			continue
		}
		if s.lanes.wait(&agentv1.ConnectRequest{Kind: &agentv1.ConnectRequest_TaskResult{TaskResult: result}}) != nil {
			return false
		}
	}
	return true
}

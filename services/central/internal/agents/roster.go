package agents

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"
	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

const sessionTopics = "session:"

func sessionTopic(cluster uuid.UUID) string { return sessionTopics + cluster.String() }

// enter makes a session the one of its cluster on this replica. An older one is
// told to stay away; if this one is the older, it is.
func (s *Server) enter(sess *session) {
	older := sess
	s.mu.Lock()
	if there := s.sessions[sess.cluster]; there == nil || there.epoch < sess.epoch {
		s.sessions[sess.cluster], older = sess, there
	}
	if !s.keeping {
		s.keeping = true
		go s.keep()
	}
	s.mu.Unlock()
	if older != nil {
		older.superseded()
	}
}

// leave forgets a session, and says so in the database unless a newer one is there.
func (s *Server) leave(sess *session) {
	s.mu.Lock()
	if s.sessions[sess.cluster] == sess {
		delete(s.sessions, sess.cluster)
	}
	if len(s.sessions) == 0 {
		select {
		case s.empty <- struct{}{}:
		default:
		}
	}
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(store.ForEveryone(context.Background()), 5*time.Second) // the stream's own context is over
	defer cancel()
	if err := s.Store.CloseSession(ctx, sess.cluster, sess.epoch); err != nil {
		s.Log.WarnContext(ctx, "closing a session", "cluster_id", sess.cluster, "error", err)
	}
}

func (s *Server) session(cluster string) *session {
	id, err := uuid.Parse(cluster)
	if err != nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions[id]
}

// wake makes the session of a cluster look for tasks. It runs within Publish.
func (s *Server) wake(cluster string) {
	if sess := s.session(cluster); sess != nil {
		sess.look()
	}
}

// newer hears that a session was opened, here or elsewhere. It runs within Publish.
func (s *Server) newer(cluster string, payload []byte) {
	epoch, err := strconv.ParseInt(string(payload), 10, 64)
	if sess := s.session(cluster); err == nil && sess != nil && sess.epoch < epoch {
		sess.superseded()
	}
}

func (s *Server) all() []*session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.sessions))
}

const (
	// keepEvery is how often sessions are looked after; more often where heartbeats are.
	keepEvery = time.Second
	// touchEvery is how exact session_seen_at is, and how soon a session learns from
	// the database alone that a newer one is there; ten thousand sessions add twenty
	// seconds, or the writing would be most of what the database does.
	touchEvery, touchPerSession = 5 * time.Second, 2 * time.Millisecond
	// touchAtOnce bounds one statement, so that a task's lease does not wait long
	// for a processor.
	touchAtOnce = 250
	// sendPatience is how long a message may wait for an agent that does not read.
	sendPatience = 15 * time.Second
	// ageGrace is how long a session that was asked to connect anew may stay.
	ageGrace = time.Minute
)

// keep looks after all sessions, in the place of timers and statements of each.
// It ends with the last of them.
func (s *Server) keep() {
	tick := time.NewTicker(max(min(keepEvery, seconds(s.Settings.GetHeartbeatSeconds())/4), 10*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-s.empty:
		}
		s.mu.Lock()
		if len(s.sessions) == 0 {
			s.keeping = false
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		sessions, now := s.all(), time.Now()
		interval := touchEvery + time.Duration(len(sessions))*touchPerSession
		var due []*session
		for _, sess := range sessions {
			s.check(sess, now)
			if sess.touchAt.Before(now) {
				// Spread, or those that connected together would be written down together.
				sess.touchAt = now.Add(interval/2 + rand.N(interval/2))
				due = append(due, sess)
			}
		}
		s.touch(due)
		s.tellModes(due)
		s.tellStops(sessions)
	}
}

// check ends a session whose agent is silent, does not read, or stayed too long.
func (s *Server) check(sess *session, now time.Time) {
	silence := 3 * seconds(s.Settings.GetHeartbeatSeconds())
	sending := sess.sendingSince.Load()
	switch {
	case sending != 0 && now.Sub(time.Unix(0, sending)) > sendPatience:
		sess.end(tooSlow())
	case !sess.held.Load() && now.Sub(time.Unix(0, sess.heard.Load())) > silence:
		sess.end(fault.New(faultv1.Reason_REASON_DEADLINE_EXCEEDED, "no word from the agent for %s", silence))
	case now.After(sess.goAwayAt.Add(ageGrace)):
		sess.end(fault.Unavailable("this stream is too old: central", nil))
	case now.After(sess.goAwayAt) && sess.asked.CompareAndSwap(false, true):
		sess.say(goAway("age", 0))
	}
}

// touch writes down which sessions live, some hundred to a statement. The
// database's absence ends no session: what agents say is then not acknowledged,
// and they say it again.
func (s *Server) touch(sessions []*session) {
	ctx, cancel := context.WithTimeout(store.ForEveryone(context.Background()), touchEvery)
	defer cancel()
	for some := range slices.Chunk(sessions, touchAtOnce) {
		epochs := make(map[uuid.UUID]int64, len(some))
		for _, sess := range some {
			epochs[sess.cluster] = sess.epoch
		}
		live, err := s.Store.TouchSessions(ctx, epochs)
		if err != nil {
			s.Log.WarnContext(ctx, "noting which agents are connected", "sessions", len(some), "error", err)
			return
		}
		for _, sess := range some {
			if !live[sess.cluster] {
				sess.superseded()
			}
		}
	}
}

const (
	// leaveEvery spreads good-byes at the speed at which a replica takes streams in.
	leaveEvery = time.Second / 500
	// leaveAfter lets the last of them go.
	leaveAfter = time.Second
)

// Leave asks every agent to connect elsewhere, no faster than the other replicas
// take them, and returns when they have gone, or have had the time to. Call it
// before the server is stopped, e.g. with rpc.Server.BeforeStop.
func (s *Server) Leave(ctx context.Context) {
	s.mu.Lock()
	s.leaving = true
	s.mu.Unlock()
	sessions := s.all()
	pace := time.NewTicker(leaveEvery)
	defer pace.Stop()
	for _, sess := range sessions {
		select {
		case <-ctx.Done():
			return
		case <-pace.C:
		}
		if sess.asked.CompareAndSwap(false, true) {
			sess.say(goAway("draining", 0))
		}
	}
	last, cancel := context.WithTimeout(ctx, leaveAfter)
	defer cancel()
	for _, sess := range sessions {
		select {
		case <-sess.ctx.Done():
		case <-last.Done():
			return
		}
	}
}

func (s *Server) stopping() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.leaving
}

func goAway(reason string, after time.Duration) *agentv1.ConnectResponse {
	return &agentv1.ConnectResponse{Kind: &agentv1.ConnectResponse_GoAway{GoAway: &agentv1.GoAway{
		Reason: reason, ReconnectAfterSeconds: after.Seconds(),
	}}}
}

func seconds(v float64) time.Duration { return time.Duration(v * float64(time.Second)) }

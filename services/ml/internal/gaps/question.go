package gaps

import (
	"context"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/gaps/series"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/store"
)

// learnFrom is how far back what is usual is learned, even for a shorter lookback:
// eight weeks.
const learnFrom = 56 * 24 * time.Hour

// question is what is looked at, the same for analyzing and filling.
type question struct {
	cluster    uuid.NullUUID
	now        time.Time
	start, end time.Time
	// kept is the oldest report of any cluster.
	kept     time.Time
	silences []store.Silence
}

// asked is what the three requests have in common.
type asked interface {
	GetModelTrainingDate() *timestamppb.Timestamp
	GetLookbackDays() int32
	GetClusterId() string
}

// read the request. Rows of the training date and later are never looked at: what
// is learned for that day must not know them.
func (s *Server) read(ctx context.Context, req asked) (*question, error) {
	if s.Store == nil {
		return nil, fault.Unavailable("the database", errNoDatabase)
	}
	q := &question{now: s.now(), end: req.GetModelTrainingDate().AsTime()}
	if q.end.After(q.now) {
		q.end = q.now
	}
	q.start = q.end.AddDate(0, 0, -int(req.GetLookbackDays()))
	if id := req.GetClusterId(); id != "" {
		cluster, err := uuid.Parse(id)
		if err != nil {
			return nil, fault.Invalid("cluster_id", "must be valid UUID")
		}
		q.cluster = uuid.NullUUID{UUID: cluster, Valid: true}
	}
	var err error
	if q.kept, err = s.Store.FirstReport(ctx); err != nil {
		return nil, away(err)
	}
	q.silences, err = s.Store.Silences(ctx, q.start, q.end)
	return q, away(err)
}

// away hides what a database said from callers; the log has it.
func away(err error) error {
	if err == nil {
		return nil
	}
	return fault.Unavailable("the database", err)
}

// silencesOf a cluster, and central's.
func (q *question) silencesOf(cluster uuid.UUID) []series.Silence {
	var of []series.Silence
	for _, s := range q.silences {
		if !s.Cluster.Valid || s.Cluster.UUID == cluster {
			of = append(of, series.Silence{Kind: s.Kind, Since: s.Since.UnixMilli(), Until: s.Until.UnixMilli()})
		}
	}
	return of
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

package store

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"
	"google.golang.org/protobuf/proto"

	"github.com/cloudoptim/cloudoptim/gen/centraldb"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
)

const (
	// UsageFor is how long what a node was said to use is shown: twelve reports.
	UsageFor = 3 * time.Minute
	// MostContainers of a cluster whose usage is kept.
	MostContainers = 20_000

	usageKnown = "known"
	// reportsAtOnce of samples are in memory together: a large cluster's are 400 KB each.
	reportsAtOnce = 20
)

// AddUsage keeps what a report says of usage: two statements, three when it becomes known or
// unknown. A report that is repeated, told by its time, changes nothing.
func (s *Store) AddUsage(ctx context.Context, cluster uuid.UUID, at time.Time, usage *fleetv1.ClusterUsage) error {
	if usage == nil {
		return nil
	}
	containers := 0
	for _, workload := range usage.GetWorkloads() {
		containers += len(workload.GetContainers())
	}
	if containers > MostContainers {
		return fault.Invalid("usage.workloads", "must have at most 20000 containers")
	}
	state := usage.GetUnknown()
	if state == "" {
		state = usageKnown
	}
	err := s.InTx(ctx, func(tx *Store) error {
		if state != usageKnown {
			return tx.q.UsageState(ctx, tx.db, centraldb.UsageStateParams{ClusterID: cluster, UsageState: state})
		}
		content, err := proto.Marshal(&fleetv1.ClusterUsage{Workloads: usage.GetWorkloads()})
		if err != nil {
			return err
		}
		// Not nil, which would be a report that is counted.
		added, err := tx.q.UsageSampleAdd(ctx, tx.db, centraldb.UsageSampleAddParams{ClusterID: cluster, At: at, Content: slices.Concat([]byte{}, content)})
		if err != nil || added == 0 {
			return err
		}
		if err := tx.putNodeUsage(ctx, cluster, usage.GetNodes()); err != nil {
			return err
		}
		return tx.q.UsageState(ctx, tx.db, centraldb.UsageStateParams{ClusterID: cluster, UsageState: state})
	})
	return wrap("writing usage of cluster", cluster.String(), err)
}

func (s *Store) putNodeUsage(ctx context.Context, cluster uuid.UUID, nodes []*fleetv1.NodeUsage) error {
	rows := centraldb.UsageNodePutParams{ClusterID: cluster}
	for _, node := range lastOf(nodes, (*fleetv1.NodeUsage).GetNodeName) {
		rows.NodeNames = append(rows.NodeNames, node.GetNodeName())
		rows.Cpus = append(rows.Cpus, node.GetCpuMillicores())
		rows.Memories = append(rows.Memories, node.GetMemoryBytes())
	}
	if len(rows.NodeNames) == 0 {
		return nil
	}
	return s.q.UsageNodePut(ctx, s.db, rows)
}

// UsageHour is a cluster's hour.
type UsageHour struct {
	Cluster uuid.UUID
	Start   time.Time
}

// UsageHoursDue are hours that are over and have samples that no histogram has, at most limit.
func (s *Store) UsageHoursDue(ctx context.Context, limit int) ([]UsageHour, error) {
	rows, err := s.q.UsageHoursDue(ctx, s.db, int32(limit))
	hours := make([]UsageHour, 0, len(rows))
	for _, row := range rows {
		hours = append(hours, UsageHour{Cluster: row.ClusterID, Start: row.Hour.UTC()})
	}
	return hours, wrap("looking for", "usage that is to be counted", err)
}

// CountUsage counts an hour's samples into its day, in one transaction: each is given to
// count once in its life. Only one may count of a cluster at a time; false: another does.
func (s *Store) CountUsage(
	ctx context.Context, hour UsageHour, count func(day map[UsageKey]*mlv1.ContainerUsage, sample *fleetv1.ClusterUsage),
) (bool, error) {
	mine, err := s.Locked(ctx, "usage "+hour.Cluster.String(), func() error {
		return s.InTx(ctx, func(tx *Store) error { return tx.countUsage(ctx, hour, count) })
	})
	return mine, wrap("counting usage of cluster", hour.Cluster.String(), err)
}

func (s *Store) countUsage(ctx context.Context, hour UsageHour, count func(map[UsageKey]*mlv1.ContainerUsage, *fleetv1.ClusterUsage)) error {
	day := pgtype.Date{Time: hour.Start.Truncate(24 * time.Hour), Valid: true}
	kept, err := s.usageOfDay(ctx, hour.Cluster, day)
	if err != nil {
		return err
	}
	counted := centraldb.UsageSamplesCountedParams{ClusterID: hour.Cluster}
	next := centraldb.UsageSamplesOfHourParams{ClusterID: hour.Cluster, Hour: hour.Start, MaxRows: reportsAtOnce}
	for {
		rows, err := s.q.UsageSamplesOfHour(ctx, s.db, next)
		if err != nil {
			return err
		}
		for _, row := range rows {
			sample := &fleetv1.ClusterUsage{}
			if err := proto.Unmarshal(row.Content, sample); err != nil {
				return err
			}
			count(kept, sample)
			counted.Ats = append(counted.Ats, row.At)
			next.After = row.At
		}
		if len(rows) < reportsAtOnce {
			break
		}
	}
	if err := s.putUsageDay(ctx, hour.Cluster, day, kept); err != nil {
		return err
	}
	return s.q.UsageSamplesCounted(ctx, s.db, counted)
}

// UsageKey names a container of a workload.
type UsageKey struct{ Namespace, Kind, Name, Container string }

func (s *Store) usageOfDay(ctx context.Context, cluster uuid.UUID, day pgtype.Date) (map[UsageKey]*mlv1.ContainerUsage, error) {
	rows, err := s.q.UsageOfDay(ctx, s.db, centraldb.UsageOfDayParams{ClusterID: cluster, Day: day})
	if err != nil {
		return nil, err
	}
	kept := make(map[UsageKey]*mlv1.ContainerUsage, len(rows))
	for _, row := range rows {
		one := &mlv1.ContainerUsage{}
		if err := proto.Unmarshal(row.Content, one); err != nil {
			return nil, err
		}
		kept[UsageKey{row.Namespace, row.Kind, row.Name, row.Container}] = one
	}
	return kept, nil
}

func (s *Store) putUsageDay(ctx context.Context, cluster uuid.UUID, day pgtype.Date, kept map[UsageKey]*mlv1.ContainerUsage) error {
	rows := centraldb.UsageDayPutParams{ClusterID: cluster, Day: day}
	for key, one := range kept {
		content, err := proto.Marshal(one)
		if err != nil {
			return err
		}
		rows.Namespaces = append(rows.Namespaces, key.Namespace)
		rows.Kinds = append(rows.Kinds, key.Kind)
		rows.Names = append(rows.Names, key.Name)
		rows.Containers = append(rows.Containers, key.Container)
		rows.Contents = append(rows.Contents, content)
	}
	if len(rows.Names) == 0 {
		return nil
	}
	return s.q.UsageDayPut(ctx, s.db, rows)
}

// UsageDays reads a cluster's days since then, the newest first, until take returns false;
// what is not counted yet comes before them, sample by sample. All is of one moment.
func (s *Store) UsageDays(
	ctx context.Context, cluster uuid.UUID, since time.Time,
	open func(hour time.Time, sample *fleetv1.ClusterUsage), take func(day map[UsageKey]*mlv1.ContainerUsage) bool,
) error {
	err := s.inView(ctx, func(tx *Store) error {
		if err := tx.openUsage(ctx, cluster, open); err != nil {
			return err
		}
		days, err := tx.q.UsageDays(ctx, tx.db, centraldb.UsageDaysParams{ClusterID: cluster, Since: pgtype.Date{Time: since.UTC(), Valid: true}})
		if err != nil {
			return err
		}
		for _, day := range days {
			kept, err := tx.usageOfDay(ctx, cluster, day)
			if err != nil || !take(kept) {
				return err
			}
		}
		return nil
	})
	return wrap("reading usage of cluster", cluster.String(), err)
}

func (s *Store) openUsage(ctx context.Context, cluster uuid.UUID, open func(time.Time, *fleetv1.ClusterUsage)) error {
	next := centraldb.UsageSamplesOpenParams{ClusterID: cluster, MaxRows: reportsAtOnce}
	for {
		rows, err := s.q.UsageSamplesOpen(ctx, s.db, next)
		if err != nil {
			return err
		}
		for _, row := range rows {
			sample := &fleetv1.ClusterUsage{}
			if err := proto.Unmarshal(row.Content, sample); err != nil {
				return err
			}
			open(row.Hour.UTC(), sample)
			next.After = row.At
		}
		if len(rows) < reportsAtOnce {
			return nil
		}
	}
}

// PruneUsage forgets what nodes used, which reports were heard, and days that are older than keep.
func (s *Store) PruneUsage(ctx context.Context, keep time.Duration) error {
	if err := s.q.UsagePruneNodes(ctx, s.db); err != nil {
		return wrap("pruning", "usage of nodes", err)
	}
	before := pgtype.Date{Time: time.Now().UTC().Add(-keep), Valid: true}
	return errors.Join(
		inBites(func() (int64, error) { return s.q.UsagePruneSamples(ctx, s.db, pruneAtOnce) }),
		inBites(func() (int64, error) {
			return s.q.UsagePruneDays(ctx, s.db, centraldb.UsagePruneDaysParams{Before: before, MaxRows: pruneAtOnce})
		}))
}

// inBites deletes until there is nothing left, so that no statement holds many rows.
func inBites(prune func() (int64, error)) error {
	for {
		if n, err := prune(); err != nil || n < pruneAtOnce {
			return wrap("pruning", "usage", err)
		}
	}
}

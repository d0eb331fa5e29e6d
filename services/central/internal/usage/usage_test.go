package usage

import (
	"log/slog"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/histogram"
	"github.com/cloudoptim/cloudoptim/pkg/pgtest"

	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

var (
	noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	web  = store.UsageKey{Namespace: "shop", Kind: "Deployment", Name: "web", Container: "app"}
)

// sample of one container; change adds to it.
func sample(cpu, memory int64, change ...func(*fleetv1.ContainerSample)) *fleetv1.ClusterUsage {
	c := &fleetv1.ContainerSample{Container: "app", CpuMillicores: cpu, MemoryBytes: memory}
	for _, with := range change {
		with(c)
	}
	return &fleetv1.ClusterUsage{Workloads: []*fleetv1.WorkloadUsage{{
		Namespace: "shop", Kind: "Deployment", Name: "web", Replicas: 3, Containers: []*fleetv1.ContainerSample{c},
	}}}
}

func killed(at time.Time, limit int64) func(*fleetv1.ContainerSample) {
	return func(c *fleetv1.ContainerSample) {
		c.OomKills = append(c.OomKills, &fleetv1.ContainerKill{Time: timestamppb.New(at), LimitBytes: limit})
	}
}

func TestSamplesBecomeHistogramsOfTheirHours(t *testing.T) {
	day := map[store.UsageKey]*mlv1.ContainerUsage{}
	Count(day, noon.Add(time.Hour), sample(300, 64*mib))
	Count(day, noon, sample(100, 32*mib))
	Count(day, noon, sample(200, 16*mib, func(c *fleetv1.ContainerSample) {
		c.Requests, c.Restarts = &fleetv1.Resources{CpuMillicores: 500}, 2
	}))
	want := &mlv1.ContainerUsage{
		Replicas: 3, Restarts: 2, Requests: &fleetv1.Resources{CpuMillicores: 500}, // as said last
		Hours: []*mlv1.UsageHour{
			{Start: timestamppb.New(noon), Cpu: histogram.Collect([]float64{100, 200}), Memory: histogram.Collect([]float64{32, 16})},
			{Start: timestamppb.New(noon.Add(time.Hour)), Cpu: histogram.Collect([]float64{300}), Memory: histogram.Collect([]float64{64})},
		},
	}
	if diff := cmp.Diff(map[store.UsageKey]*mlv1.ContainerUsage{web: want}, day, protocmp.Transform()); diff != "" {
		t.Fatal(diff)
	}
}

func TestAKillThatIsToldAgainIsOne(t *testing.T) {
	day := map[store.UsageKey]*mlv1.ContainerUsage{}
	for range 3 {
		Count(day, noon, sample(1, 5*mib, killed(noon, 64*mib)))
	}
	Count(day, noon, sample(1, 5*mib, killed(noon.Add(time.Minute), 0)))
	got := day[web].OomKills
	if len(got) != 2 || got[0].MemoryBytes != 64*mib || got[1].MemoryBytes != 5*mib {
		t.Fatalf("kills: %v", got)
	}
}

// plant is a cluster in a database.
func plant(t *testing.T) (*store.Store, *pgtest.DB, uuid.UUID) {
	t.Helper()
	t.Parallel()
	db := pgtest.New(t)
	s := store.New(db.Pool)
	customer, err := s.CreateCustomer(t.Context(), &adminv1.CreateCustomerRequest{CompanyName: "acme", Email: "a@example.com"}, "x", key("a", "admin"))
	must(t, err)
	made, err := s.CreateCluster(t.Context(), customer, &adminv1.CreateClusterRequest{ClusterName: "one", Region: "us-east-1"}, key("b", "agent"))
	must(t, err)
	return s, db, uuid.MustParse(made.GetClusterId())
}

func key(secret, scope string) store.NewKey {
	hash := make([]byte, 32)
	copy(hash, secret)
	return store.NewKey{Hash: hash, Prefix: "co_test", Scope: scope, CreatedBy: "test"}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestWhatIsReadIsTheSameBeforeAndAfterItIsCounted(t *testing.T) {
	s, db, cluster := plant(t)
	counter := Counter{Store: s, Log: slog.New(slog.DiscardHandler)}
	at := time.Now()
	for i := range 50 {
		must(t, s.AddUsage(t.Context(), cluster, at.Add(time.Duration(i)*time.Second), sample(int64(100+i), int64(1+i)*mib, killed(noon, mib))))
	}
	read := func() *mlv1.ContainerUsage {
		t.Helper()
		all, err := Read(t.Context(), s, cluster, math.MaxInt)
		must(t, err)
		if len(all) != 1 {
			t.Fatalf("%d containers", len(all))
		}
		return all[0]
	}
	// Into an hour that is over, and always the same one.
	hour := at.UTC().Truncate(time.Hour).Add(-2 * time.Hour)
	_, err := db.Pool.Exec(t.Context(), "UPDATE usage_samples SET hour = $1", hour)
	must(t, err)
	before := read()
	if h := before.Hours; len(h) != 1 || h[0].Cpu.Samples != 50 || h[0].Cpu.Max != 149 || h[0].Memory.Max != 50 {
		t.Fatalf("read %v", before)
	}
	for range 2 {
		must(t, counter.count(t.Context()))
		if diff := cmp.Diff(before, read(), protocmp.Transform()); diff != "" {
			t.Fatal(diff)
		}
	}
	// What comes late for an hour that is counted is added to it.
	must(t, s.AddUsage(t.Context(), cluster, at.Add(time.Hour), sample(5000, mib)))
	_, err = db.Pool.Exec(t.Context(), "UPDATE usage_samples SET hour = $1", hour)
	must(t, err)
	must(t, counter.count(t.Context()))
	if h := read().Hours; len(h) != 1 || h[0].Cpu.Samples != 51 || h[0].Cpu.Max != 5000 {
		t.Fatalf("read %v", h)
	}
}

func TestOlderDaysAreLeftOutFirst(t *testing.T) {
	s, db, cluster := plant(t)
	today := time.Now().UTC().Truncate(24 * time.Hour)
	for back := range 5 {
		day := today.AddDate(0, 0, -back-1)
		must(t, s.AddUsage(t.Context(), cluster, day, sample(int64(100*(back+1)), mib)))
		_, err := db.Pool.Exec(t.Context(), "UPDATE usage_samples SET hour = $1 WHERE content IS NOT NULL", day)
		must(t, err)
		_, err = s.CountUsage(t.Context(), store.UsageHour{Cluster: cluster, Start: day}, func(kept map[store.UsageKey]*mlv1.ContainerUsage, u *fleetv1.ClusterUsage) {
			Count(kept, day, u)
		})
		must(t, err)
	}
	all, err := Read(t.Context(), s, cluster, math.MaxInt)
	must(t, err)
	if len(all[0].Hours) != 5 || !slices.IsSortedFunc(all[0].Hours, func(a, b *mlv1.UsageHour) int { return a.Start.AsTime().Compare(b.Start.AsTime()) }) {
		t.Fatalf("hours %v", all[0].Hours)
	}
	part, err := Read(t.Context(), s, cluster, proto.Size(all[0])/2)
	must(t, err)
	if n := len(part[0].Hours); n == 0 || n >= 5 || !part[0].Hours[n-1].Start.AsTime().Equal(today.AddDate(0, 0, -1)) {
		t.Fatalf("hours %v", part[0].Hours)
	}
	least, err := Read(t.Context(), s, cluster, 0)
	must(t, err)
	if len(least[0].Hours) != 1 {
		t.Fatalf("the newest day has no place: %v", least)
	}
}

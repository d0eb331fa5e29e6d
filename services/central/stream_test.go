package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/cloudoptim/cloudoptim/pkg/pgtest"
	"github.com/cloudoptim/cloudoptim/pkg/proc"
	"github.com/cloudoptim/cloudoptim/pkg/run"
)

// asCentral makes this test's program central itself, so that one can be killed.
const asCentral = "CENTRAL_OF_A_TEST"

func TestMain(m *testing.M) {
	if os.Getenv(asCentral) != "" {
		run.Main(command)
	}
	pgtest.Main(m)
}

// board is an open dashboard: what its program remembers.
type board struct {
	ws *websocket.Conn
	// seen is the sequence to go on behind.
	seen int64
	told []string
}

// next reads a message of the board's stream; ok is false when that has ended.
func (b *board) next(t *testing.T) (msg map[string]any, ok bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, frame, err := b.ws.Read(ctx)
	if err != nil {
		if ctx.Err() != nil {
			t.Fatalf("waiting for a message: %v", err)
		}
		return nil, false
	}
	msg = parse(t, string(frame)).(map[string]any)
	if text, ok := msg["sequence"].(string); ok {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < b.seen {
			t.Fatalf("%s after %d", frame, b.seen)
		}
		if msg["type"] != "heartbeat" {
			if n == b.seen {
				t.Fatalf("%s comes twice", frame)
			}
			b.told = append(b.told, fmt.Sprint(msg["subject"]))
		}
		b.seen = n
	}
	return msg, true
}

// hear reads until so many messages of news have come.
func (b *board) hear(t *testing.T, n int) {
	t.Helper()
	for len(b.told) < n {
		if msg, ok := b.next(t); !ok || msg["type"] == "bye" || msg["type"] == "reset" {
			t.Fatalf("%v, %v after %d of %d", msg, ok, len(b.told), n)
		}
	}
}

// bye reads until the stream says it, and returns why.
func (b *board) bye(t *testing.T) string {
	t.Helper()
	for {
		msg, ok := b.next(t)
		if !ok {
			t.Fatal("the stream ended without a word")
		}
		if msg["type"] == "bye" {
			return fmt.Sprint(msg["message"])
		}
	}
}

func (h *house) board(t *testing.T, path, key string) *board {
	t.Helper()
	b := &board{ws: h.stream(t, path, key)}
	if msg, ok := b.next(t); !ok || msg["type"] != "heartbeat" {
		t.Fatalf("a stream begins with %v", msg)
	}
	return b
}

// resume opens another stream behind what the board has seen, perhaps elsewhere.
func (b *board) resume(t *testing.T, h *house, key string) {
	t.Helper()
	_ = b.ws.CloseNow()
	b.ws = h.stream(t, fmt.Sprintf("/api/v1/admin/stream?after_sequence=%d", b.seen), key)
	if _, frame, err := b.ws.Read(t.Context()); err != nil || parse(t, string(frame)).(map[string]any)["type"] != "heartbeat" {
		t.Fatalf("a stream begins with %s, %v", frame, err)
	}
}

// create makes clusters, which is told.
func (h *house) create(t *testing.T, key string, names ...string) {
	t.Helper()
	for _, name := range names {
		h.must(t, 201, "POST", "/api/v1/admin/clusters", key, fmt.Sprintf(`{"cluster_name": %q, "region": "us-east-1"}`, name))
	}
}

func TestADashboardHearsWhatHappensAndGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	h := open(t, (&ml{}).serve(t), unlimited)
	_, rival := h.newCustomer(t, "Rival Ltd.", "ops@rival.test")
	within(t, "the first cluster was told of", func() bool { return h.board(t, "/api/v1/admin/stream", h.admin).seen > 0 })
	mine, staff, models := h.board(t, "/api/v1/admin/stream", h.admin), h.board(t, "/api/v1/admin/stream", h.platform),
		h.board(t, "/api/v1/admin/stream?types=model,policy", h.admin)
	h.create(t, h.admin, "a")
	h.create(t, rival, "theirs")
	h.create(t, h.admin, "b")
	mine.hear(t, 2)
	staff.hear(t, 3)
	_ = mine.ws.CloseNow()
	h.create(t, h.admin, "c", "d")
	mine.resume(t, h, h.admin)
	h.create(t, h.admin, "e")
	mine.hear(t, 5)
	if diff := cmp.Diff([]string{"a", "b", "c", "d", "e"}, mine.told); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"a", "theirs", "b"}, staff.told); diff != "" {
		t.Error(diff)
	}
	if len(models.told) != 0 {
		t.Errorf("who asked for other types heard %v", models.told)
	}
	first := h.call(t, "GET", "/api/v1/admin/activity?page_size=3&types=cluster", h.admin, "")
	var got []string
	for _, one := range parse(t, first.text).([]any) {
		got = append(got, one.(map[string]any)["subject"].(string))
	}
	rest := h.must(t, 200, "GET", "/api/v1/admin/activity?page_size=3&page_token="+first.header.Get("Next-Page-Token"), h.admin, "")
	for _, one := range rest.([]any) {
		got = append(got, one.(map[string]any)["subject"].(string))
	}
	if diff := cmp.Diff([]string{"e", "d", "c", "b", "a", "prod"}, got); diff != "" {
		t.Errorf("the list: %s", diff)
	}
	h.must(t, 422, "GET", "/api/v1/admin/activity?min_severity=bad", h.admin, "")
	h.must(t, 404, "GET", "/api/v1/admin/activity?cluster_id="+uuid.NewString(), h.admin, "")
	h.must(t, 422, "GET", "/api/v1/admin/clusters?order_by=region", h.admin, "")
	if all := h.must(t, 200, "GET", "/api/v1/admin/clusters", h.admin, "").([]any); len(all) != 6 {
		t.Errorf("%d clusters without a page size", len(all))
	}
}

func TestAKeyThatEndsHearsNothingMore(t *testing.T) {
	t.Parallel()
	h := open(t, (&ml{}).serve(t), unlimited)
	id, viewer := h.newKey(t, "viewer")
	b := h.board(t, "/api/v1/admin/stream", viewer)
	h.must(t, 200, "DELETE", "/api/v1/admin/api-keys/"+id, h.admin, "")
	h.create(t, h.admin, "secret")
	if why := b.bye(t); why != "signed_out" || slices.Contains(b.told, "secret") {
		t.Fatalf("%s after %v", why, b.told)
	}
	_, _, err := b.ws.Read(t.Context())
	if code := websocket.CloseStatus(err); code != 4401 {
		t.Errorf("closed with %v: %v", code, err)
	}
}

func TestACustomerThatIsSuspendedHearsNothingMore(t *testing.T) {
	t.Parallel()
	h := open(t, (&ml{}).serve(t), unlimited)
	within(t, "the first cluster was told of", func() bool { return h.board(t, "/api/v1/admin/stream", h.admin).seen > 0 })
	b, staff := h.board(t, "/api/v1/admin/stream", h.admin), h.board(t, "/api/v1/admin/stream", h.platform)
	if _, err := h.db.Pool.Exec(t.Context(), "UPDATE customers SET status = 'suspended' WHERE customer_id = $1", h.customer); err != nil {
		t.Fatal(err)
	}
	h.must(t, 201, "POST", "/api/v1/admin/clusters", h.platform, fmt.Sprintf(`{"customer_id": %q, "cluster_name": "secret", "region": "us-east-1"}`, h.customer))
	staff.hear(t, 1)
	if why := b.bye(t); why != "signed_out" || len(b.told) > 0 { // the heartbeat finds that the key is no longer valid
		t.Errorf("%s after %v", why, b.told)
	}
}

// replica is a central of its own process.
type replica struct {
	*house
	child *proc.Child
}

// replica starts one on the house's database and Redis.
func (h *house) replica(t *testing.T, redisPort int) *replica {
	t.Helper()
	cfg, err := pgx.ParseConfig(h.db.DSN)
	if err != nil {
		t.Fatal(err)
	}
	ports, err := proc.FreePorts(2)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, fmt.Sprintf("--central.http_address=127.0.0.1:%d", ports[0]), fmt.Sprintf("--central.grpc_address=127.0.0.1:%d", ports[1]), "--ml.address=127.0.0.1:9")
	cmd.Env = append(os.Environ(), asCentral+"=1", "CLOUDOPTIM_ENVIRONMENT=development", "CLOUDOPTIM_ML_API_KEY=unused",
		"CLOUDOPTIM_DATABASE_HOST="+cfg.Host, "CLOUDOPTIM_DATABASE_PORT="+strconv.Itoa(int(cfg.Port)), "CLOUDOPTIM_DATABASE_SSL_MODE=disable",
		"CLOUDOPTIM_DATABASE_NAME="+cfg.Database, "CLOUDOPTIM_DATABASE_USER="+cfg.User, "CLOUDOPTIM_DATABASE_PASSWORD="+cfg.Password,
		"CLOUDOPTIM_REDIS_HOST=127.0.0.1", "CLOUDOPTIM_REDIS_PORT="+strconv.Itoa(redisPort), "CLOUDOPTIM_API_RATE_LIMIT_PER_MINUTE=100000", "CLOUDOPTIM_LOGGING_LEVEL=WARNING",
		"AWS_ACCESS_KEY_ID=none", "AWS_SECRET_ACCESS_KEY=none", "AWS_EC2_METADATA_DISABLED=true")
	log := filepath.Join(t.TempDir(), "central.log")
	child, err := proc.StartLogged("central", log, cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		child.Kill()
		if said, _ := os.ReadFile(log); t.Failed() {
			t.Logf("%s", said)
		}
	})
	mine := *h
	mine.url = fmt.Sprintf("http://127.0.0.1:%d", ports[0])
	within(t, "a replica is ready", func() bool {
		resp, err := http.Get(mine.url + "/readyz")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return &replica{house: &mine, child: child}
}

func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never became true: %s", what)
		}
	}
}

// startRedis starts a real one on a port and returns how to kill it.
func startRedis(t *testing.T, port int) (kill func()) {
	t.Helper()
	cmd := exec.Command("redis-server", "--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", t.TempDir())
	if err := cmd.Start(); err != nil {
		t.Fatalf("these tests need the program redis-server: %v", err)
	}
	var dead atomic.Bool
	kill = func() {
		if !dead.Swap(true) {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}
	t.Cleanup(kill)
	within(t, "redis answers", func() bool {
		conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	return kill
}

func TestDashboardsOfAllReplicasHearEverythingOnceThoughOneDiesAndRedisToo(t *testing.T) {
	t.Parallel()
	h := open(t, (&ml{}).serve(t), unlimited) // makes the customer; it has no Redis, so it is heard by looking alone
	ports, err := proc.FreePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	killRedis := startRedis(t, ports[0])
	within(t, "the first cluster was told of", func() bool { return h.board(t, "/api/v1/admin/stream", h.admin).seen > 0 })
	one, two := h.replica(t, ports[0]), h.replica(t, ports[0])
	onOne, onTwo := one.board(t, "/api/v1/admin/stream", h.admin), two.board(t, "/api/v1/admin/stream", h.admin)
	var want []string
	name := func() string {
		want = append(want, fmt.Sprintf("c%03d", len(want)))
		return want[len(want)-1]
	}
	for range 10 {
		one.create(t, h.admin, name())
		two.create(t, h.admin, name())
	}
	h.create(t, h.admin, name())
	onOne.hear(t, 21)
	onTwo.hear(t, 21)

	killRedis()
	began := time.Now()
	one.create(t, h.admin, name())
	onTwo.hear(t, 22)
	if took := time.Since(began); took > 10*time.Second { // it looks twice a second; a heartbeat comes after fifteen
		t.Errorf("without redis another replica hears after %s", took)
	}
	startRedis(t, ports[0])

	one.create(t, h.admin, name(), name())
	one.child.Kill()
	for {
		if _, ok := onOne.next(t); !ok {
			break
		}
	}
	two.create(t, h.admin, name(), name())
	onOne.resume(t, two.house, h.admin)
	two.create(t, h.admin, name())
	onOne.hear(t, len(want))
	onTwo.hear(t, len(want))
	for who, b := range map[string]*board{"of the dead replica": onOne, "of the other": onTwo} {
		if diff := cmp.Diff(want, b.told); diff != "" {
			t.Errorf("the dashboard %s: %s", who, diff)
		}
	}
}

func TestAReplicaThatIsToldToStopSaysByeToItsDashboards(t *testing.T) {
	t.Parallel()
	h := open(t, (&ml{}).serve(t), unlimited)
	ports, err := proc.FreePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	one := h.replica(t, ports[0]) // there is no Redis at all
	b := one.board(t, "/api/v1/admin/stream", h.admin)
	go one.child.Stop(20 * time.Second)
	if why := b.bye(t); why != "draining" {
		t.Fatalf("it says bye because of %s", why)
	}
	_, _, err = b.ws.Read(t.Context())
	if code := websocket.CloseStatus(err); code != websocket.StatusTryAgainLater {
		t.Errorf("closed with %v: %v", code, err)
	}
}

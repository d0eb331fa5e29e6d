//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/jackc/pgx/v5" //nolint:depguard // reads, as ml may, what no API shows: how each row was filled

	"github.com/cloudoptim/cloudoptim/pkg/optest"
	"github.com/cloudoptim/cloudoptim/pkg/pgembed"
	"github.com/cloudoptim/cloudoptim/pkg/proc"
	"github.com/cloudoptim/cloudoptim/services/lab/stage"
)

// TestAdminUI has a browser tell the stories of the admin UI, in services/e2e/web, on
// the real central and the lab. It begins as a customer does: without a cluster.
func TestAdminUI(t *testing.T) {
	ports, err := proc.FreePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	address := "127.0.0.1:" + strconv.Itoa(ports[0])
	op := optest.New(t, "http://"+address+"/auth/oidc/callback")
	op.URL = strings.Replace(op.URL, "127.0.0.1", "localhost", 1) // to a browser another site than central's
	dir := newDir(t)
	s := stageOf(t, dir, stage.Options{LabArgs: cluster("12", "70", "3"), Unconnected: true, CentralEnv: []string{
		"CLOUDOPTIM_OIDC_ISSUER=" + op.URL, "CLOUDOPTIM_OIDC_CLIENT_ID=" + optest.Client, "CLOUDOPTIM_OIDC_CLIENT_SECRET=" + optest.Secret,
		"CLOUDOPTIM_OIDC_NAME=Example ID", "CLOUDOPTIM_OIDC_PUBLIC_URL=http://" + address,
	}})
	line := proxyAt(t, address, strings.TrimPrefix(s.Admin.Base, "http://"))
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	hand := &stagehand{s: s, line: line, watching: ctx, database: filepath.Join(dir, "postgres", pgembed.MLConnectionFile)}
	hands := httptest.NewServer(hand)
	defer hands.Close()
	install(ctx, t)
	told := exec.CommandContext(ctx, "node", "--test", "--test-concurrency=1", "--test-reporter=spec", "stories.test.mjs")
	told.Dir = "web"
	told.Env = append(os.Environ(),
		"CLOUDOPTIM_URL=http://"+line.Listen, "CLOUDOPTIM_DIRECT_URL="+s.Admin.Base, "CLOUDOPTIM_STAGEHAND="+hands.URL,
		"CLOUDOPTIM_PROVIDER_URL="+op.URL, "CLOUDOPTIM_ADMIN_KEY="+s.Admin.Key, "CLOUDOPTIM_PLATFORM_KEY="+s.Platform.Key,
	)
	out, err := told.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatalf("the browser's stories: %v; what the pages showed is in services/e2e/web/shots", err)
	}
	requireBudgetsKept(t, hand.budgets)
}

// install puts the browser's driver where the stories find it.
func install(ctx context.Context, t *testing.T) {
	t.Helper()
	npm := exec.CommandContext(ctx, "npm", "ci", "--prefer-offline", "--loglevel=error")
	npm.Dir = "web"
	if out, err := npm.CombinedOutput(); err != nil {
		t.Fatalf("installing the browser's driver: %v\n%s", err, out)
	}
}

// stagehand does, for the stories in the browser, what people and AWS do elsewhere.
type stagehand struct {
	s    *stage.Stage
	line *toxiproxy.Proxy
	// watching is how long budgets are watched, once there is a cluster.
	watching context.Context
	budgets  *stage.Budgets
	// database is the file with the address at which ml reads.
	database string
}

func (h *stagehand) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer, err := h.do(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_ = json.NewEncoder(w).Encode(answer)
}

func (h *stagehand) do(r *http.Request) (any, error) {
	switch r.URL.Path {
	case "/launch": // how nodes of the lab's cluster are launched
		return map[string]any{
			"cluster_name": h.s.Lab.ClusterName, "region": h.s.Lab.Region,
			"launch_template_id": h.s.Lab.LaunchTemplateID, "subnet_ids": h.s.Lab.SubnetIDs,
		}, nil
	case "/connect": // somebody runs the command that the wizard shows
		ctx, cancel := context.WithTimeout(r.Context(), time.Minute)
		defer cancel()
		err := h.s.Connect(ctx, r.URL.Query().Get("cluster_id"), r.Header.Get("X-Agent-Key"))
		if err == nil {
			h.budgets, err = h.s.WatchBudgets(h.watching)
		}
		return nil, err
	case "/interrupt": // AWS takes an instance back
		return nil, h.s.Warn(r.Context(), r.URL.Query().Get("instance_id"))
	case "/silence": // the agent's node hangs for a while
		return nil, h.silence(r.Context(), r.URL.Query().Get("seconds"))
	case "/imputed": // what of a cluster's metrics was filled, as ml reads it
		return h.imputed(r.Context(), r.URL.Query().Get("cluster_id"))
	case "/cut": // the network between the browser and central is gone
		h.line.Stop()
		return nil, nil
	case "/mend":
		return nil, h.line.Start()
	default:
		return nil, fmt.Errorf("the stagehand does not know %s", r.URL.Path)
	}
}

func (h *stagehand) silence(ctx context.Context, seconds string) error {
	length, err := time.ParseDuration(seconds + "s")
	if err != nil {
		return err
	}
	if err := h.s.Agent.Freeze(); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
	case <-time.After(length):
	}
	return h.s.Agent.Thaw()
}

// imputedRow is a row of cluster_metrics that nobody observed.
type imputedRow struct {
	At     time.Time `json:"at"`
	Method string    `json:"method"`
	RunID  string    `json:"run_id"`
}

func (h *stagehand) imputed(ctx context.Context, cluster string) ([]imputedRow, error) {
	dsn, err := os.ReadFile(h.database)
	if err != nil {
		return nil, err
	}
	db, err := pgx.Connect(ctx, strings.TrimSpace(string(dsn)))
	if err != nil {
		return nil, err
	}
	defer func() { _ = db.Close(ctx) }()
	rows, err := db.Query(ctx, "SELECT at, method, run_id::text FROM cluster_metrics WHERE cluster_id = $1 AND imputed ORDER BY at", cluster)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[imputedRow])
}

// TestTheStoriesHaveNoRegistry keeps download addresses out of the lock file.
func TestTheStoriesHaveNoRegistry(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("web", "package-lock.json"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(raw), `"resolved"`) {
		t.Error("package-lock.json names where packages were downloaded")
	}
}

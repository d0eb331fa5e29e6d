package pgtest

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Walled are the tables with customers' rows: those whose rows end with others come first.
func Walled(t testing.TB, db *DB) []string {
	t.Helper()
	rows, err := db.Pool.Query(t.Context(), "SELECT name::text FROM tenant_tables() ORDER BY depth DESC, name::text")
	if err != nil {
		t.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Stock writes a row of a customer and its cluster, which must be there, into every table with customers'
// rows, those of tomorrow's migrations as well: what a table needs, its columns say. Texts begin with mark.
func Stock(t testing.TB, db *DB, customer, cluster uuid.UUID, mark string) {
	t.Helper()
	// As the superuser, whom neither the wall nor a foreign key binds.
	admin, err := pgx.Connect(t.Context(), db.AdminDSN)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = admin.Close(context.WithoutCancel(t.Context())) }()
	if _, err := admin.Exec(t.Context(), "SET session_replication_role = replica"); err != nil {
		t.Fatal(err)
	}
	s := stock{admin: admin, mark: mark, ids: map[string]string{"customer_id": customer.String(), "cluster_id": cluster.String()}}
	tables := Walled(t, db)
	slices.Reverse(tables) // those that others end with come first
	for _, table := range tables {
		if table != "customers" && table != "clusters" && !strings.HasPrefix(table, "cluster_metrics_") {
			s.add(t, table)
		}
	}
}

type stock struct {
	admin *pgx.Conn
	mark  string
	// ids that later tables refer to, by column.
	ids map[string]string
}

type column struct {
	Name, Type string
	// Fixed: NOT NULL. Needed: without a default, too.
	Fixed, Needed bool
	// Rules are the CHECKs that the column is in.
	Rules string
}

func (s stock) add(t testing.TB, table string) {
	t.Helper()
	rows, err := s.admin.Query(t.Context(), `SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull,
		a.attnotnull AND NOT a.atthasdef AND a.attidentity = '',
		coalesce((SELECT string_agg(pg_get_constraintdef(c.oid), ' ') FROM pg_constraint c
			WHERE c.conrelid = a.attrelid AND c.contype = 'c' AND a.attnum = ANY (c.conkey)), '')
		FROM pg_attribute a WHERE a.attrelid = $1::regclass AND a.attnum > 0 AND NOT a.attisdropped`, table)
	if err != nil {
		t.Fatal(err)
	}
	columns, err := pgx.CollectRows(rows, pgx.RowToStructByPos[column])
	if err != nil {
		t.Fatal(err)
	}
	var names, values []string
	for _, c := range columns {
		value, ok := s.value(table, c)
		if !ok {
			continue
		}
		if strings.HasSuffix(c.Name, "_id") && c.Type == "uuid" {
			s.ids[c.Name] = value
		}
		names, values = append(names, c.Name), append(values, "'"+value+"'")
	}
	sql := fmt.Sprintf("INSERT INTO %s (%s) VALUES (%s)", table, strings.Join(names, ", "), strings.Join(values, ", "))
	if _, err := s.admin.Exec(t.Context(), sql); err != nil {
		t.Fatalf("stocking %s: %v; if a CHECK wants more, say so in extras\n%s", table, err, sql)
	}
}

// value of a column; false: it may be left out.
func (s stock) value(table string, c column) (string, bool) {
	id, own := s.ids[c.Name]
	given, known := extras[table+"."+c.Name]
	switch {
	case given != "":
		return given, true
	case own && (known || c.Fixed || c.Name == "customer_id" || c.Name == "cluster_id"):
		return id, true
	case known, c.Needed, c.Fixed && c.Type == "uuid": // a default, which the rows that end with it could not name
		return s.example(c), true
	}
	return "", false
}

// extras are values that a CHECK over several columns wants, or that tell a row from the one that each cluster
// has; an empty one, an id that the rows of other
// tables have as well.
var extras = map[string]string{
	"api_keys.scope": "agent", "silences.kind": "agent", "stops.scope": "cluster", "policies.namespace": "stocked", "sessions.member_id": "",
	"activity.type": "cluster", "activity.message": `\x0a07636c7573746572`,
}

var firstOf = regexp.MustCompile(`'([^']+)'::`)

// example is a value that a column takes.
func (s stock) example(c column) string {
	unique := uuid.NewString()
	switch {
	case c.Type == "uuid":
		return unique
	case c.Type == "bytea":
		return `\x` + strings.Repeat(strings.ReplaceAll(unique, "-", ""), 2)
	case strings.HasPrefix(c.Type, "timestamp"):
		return time.Now().UTC().Truncate(time.Hour).Format(time.RFC3339) // some tables count by the hour
	case c.Type == "date":
		return time.Now().UTC().Format(time.DateOnly)
	case c.Type == "jsonb":
		return `{"note": "` + s.mark + `"}`
	case c.Type == "boolean":
		return "false"
	case strings.HasSuffix(c.Type, "[]"):
		return "{}"
	case strings.HasPrefix(c.Type, "character"), c.Type == "text":
		if found := firstOf.FindStringSubmatch(c.Rules); found != nil {
			return found[1]
		}
		return s.mark + "-" + unique[:8]
	default:
		return "1"
	}
}

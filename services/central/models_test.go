package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"google.golang.org/grpc"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
)

const uploadPath = "/api/v1/admin/models/upload"

// CheckModel takes every file but those that say what is wrong with them.
func (m *ml) CheckModel(stream grpc.ClientStreamingServer[mlv1.CheckModelRequest, mlv1.CheckModelResponse]) error {
	var content []byte
	for {
		msg, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		content = append(content, msg.GetChunk()...)
	}
	if bytes.Contains(content, []byte("hostile")) {
		return fault.Invalid("file", "trees[3].nodes[5] (byte 1042): leads to node 2, which is reached twice: a cycle or a shared child")
	}
	resp := &mlv1.CheckModelResponse{
		Kind: "spot_interruption", Objective: "binary", Features: []string{"age"}, SchemaOk: true, Trees: 10, Nodes: 70,
		TrainingMetrics: map[string]float64{"auc": 0.86},
	}
	if bytes.Contains(content, []byte("misfit")) {
		resp.SchemaOk, resp.Findings = false, []string{"1 of its 1 features are not known here: moon"}
	}
	return stream.SendAndClose(resp)
}

// ListModelMetrics speaks of the version of "first".
func (m *ml) ListModelMetrics(context.Context, *mlv1.ListModelMetricsRequest) (*mlv1.ListModelMetricsResponse, error) {
	return &mlv1.ListModelMetricsResponse{Models: []*mlv1.ModelMetrics{
		{ModelVersion: sum("first")[:16], Kind: "spot_interruption", Role: "shadow", Replica: "ml-0", Predictions: 12, Brier: 0.09},
	}}, nil
}

func sum(content string) string {
	digits := sha256.Sum256([]byte(content))
	return hex.EncodeToString(digits[:])
}

// body of an upload and its content type.
type body struct {
	kind, path string
	content    io.Reader
}

func raw(content string) body {
	query := url.Values{"name": {"m"}, "format": {"cloudoptim"}, "sha256": {sum(content)}}
	return body{"application/octet-stream", uploadPath + "?" + query.Encode(), strings.NewReader(content)}
}

// form as curl -F sends it: pairs of name and value; file comes as a file.
func form(t *testing.T, fields ...string) body {
	t.Helper()
	var out bytes.Buffer
	w := multipart.NewWriter(&out)
	for i := 0; i < len(fields); i += 2 {
		field := w.CreateFormField
		if fields[i] == "file" {
			field = func(name string) (io.Writer, error) { return w.CreateFormFile(name, "model.json") }
		}
		part, err := field(fields[i])
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(part, fields[i+1])
	}
	_ = w.Close()
	return body{w.FormDataContentType(), uploadPath, &out}
}

func goodForm(t *testing.T, content string) body {
	t.Helper()
	return form(t, "name", "m", "format", "cloudoptim", "sha256", sum(content), "file", content)
}

// upload sends a body; broken is the error of the connection.
func (h *house) upload(t *testing.T, key string, b body) (got answer, broken error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, h.url+b.path, b.content)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", b.kind)
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(text)}, err
}

func modelAnswer(content, state string) string {
	return fmt.Sprintf(`{"model_version": %q, "name": "m", "kind": "spot_interruption", "format": "cloudoptim", "sha256": %q, "size_bytes": "%d",
		"state": %q, "features": ["age"], "findings": "<list>", "trees": 10, "nodes": 70, "created_at": "<time>", "created_by": "<string>"}`,
		sum(content)[:16], sum(content), len(content), state)
}

func TestAModelIsUploadedShadowedPromotedAndRolledBackThroughREST(t *testing.T) {
	h := open(t, (&ml{}).serve(t), unlimited)
	big := strings.Repeat("0123456789abcdef", 1<<16) // several chunks
	for _, c := range []struct {
		name   string
		body   body
		status int
		want   string
	}{
		{"a form", goodForm(t, "first"), 201, "first"},
		{"the same as bytes", raw("first"), 200, "first"},
		{"bytes", raw(big), 201, big},
	} {
		got, err := h.upload(t, h.platform, c.body)
		if err != nil || got.status != c.status {
			t.Fatalf("%s: %d %s, %v", c.name, got.status, got.text, err)
		}
		want := fmt.Sprintf(`{"model_version": %q, "findings": [], "model": %s}`, sum(c.want)[:16], modelAnswer(c.want, "uploaded"))
		if problem := differ(c.name, parse(t, want), parse(t, got.text)); problem != "" {
			t.Error(problem)
		}
	}
	if _, err := h.upload(t, h.platform, raw("misfit")); err != nil {
		t.Fatal(err)
	}
	path := func(content, action string) string { return "/api/v1/admin/models/" + sum(content)[:16] + "/" + action }
	live := fmt.Sprintf(`{"expected_live_version": %q}`, sum("first")[:16])
	h.visit(t, h.fill(), []request{
		{"shadow", "POST", path("first", "shadow"), h.platform, "", 200, strings.Replace(modelAnswer("first", "shadow"), `"trees"`,
			`"metrics": {"role": "shadow", "predictions": "12", "brier": 0.09}, "trees"`, 1)},
		{"promote", "POST", path("first", "promote"), h.platform, `{"expected_live_version": "none"}`, 200, modelAnswer("first", "live")},
		{"promote again", "POST", path("first", "promote"), h.platform, `{"expected_live_version": "none"}`, 200, modelAnswer("first", "live")},
		{"promote another", "POST", path(big, "promote"), h.platform, live, 200, modelAnswer(big, "live")},
		{"roll back", "POST", "/api/v1/admin/models/rollback", h.platform, `{}`, 200, modelAnswer("first", "live")},
		{"retire", "POST", path(big, "retire"), h.platform, "", 200, modelAnswer(big, "retired")},
		{
			"list, newest first", "GET", "/api/v1/admin/models", h.platform, "", 200,
			`[{"name": "m", "schema_ok": false, "findings": ["1 of its 1 features are not known here: moon"], "metrics": null}, "<object>", "<object>"]`,
		},
		{"list a page", "GET", "/api/v1/admin/models?page_size=1", h.platform, "", 200, `["<object>"]`},
	})
	var acts []string
	rows, err := h.db.Pool.Query(t.Context(), "SELECT action FROM audit_log WHERE action LIKE 'model.%' ORDER BY audit_id")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var act string
		if err := rows.Scan(&act); err != nil {
			t.Fatal(err)
		}
		acts = append(acts, strings.TrimPrefix(act, "model."))
	}
	if got := strings.Join(acts, " "); got != "upload upload upload shadow promote promote roll_back" {
		t.Errorf("audited: %s", got) // retiring one that is retired is no act, nor is any other repetition
	}
}

func TestModelsAreRefusedInTheDocumentedWords(t *testing.T) {
	h := open(t, (&ml{}).serve(t), unlimited)
	for _, content := range []string{"first", "misfit"} {
		if got, err := h.upload(t, h.platform, raw(content)); err != nil || got.status != 201 {
			t.Fatalf("%d %s, %v", got.status, got.text, err)
		}
	}
	_, viewer := h.newKey(t, "viewer")
	cut := goodForm(t, "first")
	text, _ := io.ReadAll(cut.content)
	cut.content = bytes.NewReader(text[:len(text)-20])
	other := func(name, value string) body {
		b := raw("first")
		at, _ := url.Parse(b.path)
		query := at.Query()
		query.Set(name, value)
		b.path = uploadPath + "?" + query.Encode()
		return b
	}
	for name, c := range map[string]struct {
		key    string
		body   body
		status int
		code   string
		field  string
	}{
		"no key":                      {"", raw("x"), 401, "UNAUTHENTICATED", ""},
		"a customer's admin":          {h.admin, raw("x"), 403, "PERMISSION_DENIED", ""},
		"a viewer":                    {viewer, goodForm(t, "x"), 403, "PERMISSION_DENIED", ""},
		"JSON":                        {h.platform, body{"application/json", uploadPath, strings.NewReader(`{}`)}, 415, "UNSUPPORTED_MEDIA_TYPE", ""},
		"no content type":             {h.platform, body{"", uploadPath, strings.NewReader(`x`)}, 415, "UNSUPPORTED_MEDIA_TYPE", ""},
		"no name":                     {h.platform, other("name", ""), 422, "INVALID_REQUEST", "name"},
		"a name with a slash":         {h.platform, other("name", "../m"), 422, "INVALID_REQUEST", "name"},
		"a format unknown":            {h.platform, other("format", "onnx"), 422, "INVALID_REQUEST", "format"},
		"no checksum":                 {h.platform, other("sha256", ""), 422, "INVALID_REQUEST", "sha256"},
		"a checksum of other bytes":   {h.platform, other("sha256", sum("second")), 422, "INVALID_REQUEST", "sha256"},
		"no bytes":                    {h.platform, raw(""), 422, "INVALID_REQUEST", "chunk"},
		"a form without a file":       {h.platform, form(t, "name", "m"), 422, "INVALID_REQUEST", "file"},
		"fields after the file":       {h.platform, form(t, "name", "m", "format", "cloudoptim", "sha256", sum("x"), "file", "x", "y", "z"), 400, "MALFORMED_REQUEST", ""},
		"a field unknown":             {h.platform, form(t, "nam", "m", "file", "x"), 400, "MALFORMED_REQUEST", ""},
		"a form that is cut":          {h.platform, cut, 400, "MALFORMED_REQUEST", ""},
		"no form at all":              {h.platform, body{"multipart/form-data", uploadPath, strings.NewReader("x")}, 400, "MALFORMED_REQUEST", ""},
		"a file that ml refuses":      {h.platform, raw("hostile"), 422, "INVALID_REQUEST", "file"},
		"a file far too large":        {h.platform, body{"application/octet-stream", raw("x").path, bytes.NewReader(make([]byte, 33<<20))}, 413, "TOO_LARGE", ""},
		"one of which no length told": {h.platform, body{"application/octet-stream", raw("x").path, io.LimitReader(zeros{}, 33<<20)}, 413, "TOO_LARGE", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := h.upload(t, c.key, c.body)
			if err != nil {
				t.Fatal(err)
			}
			requireError(t, got, c.status, c.code)
			details, _ := parse(t, got.text).(map[string]any)["error"].(map[string]any)["details"].(map[string]any)
			if field, _ := details["field"].(string); field != c.field {
				t.Errorf("field %q, want %q: %s", field, c.field, got.text)
			}
		})
	}
	first, misfit := "/api/v1/admin/models/"+sum("first")[:16], "/api/v1/admin/models/"+sum("misfit")[:16]
	absent := "/api/v1/admin/models/0123456789abcdef"
	for _, r := range []struct {
		name, path, key, body string
		status                int
		code                  string
	}{
		{"promoting what does not fit", misfit + "/promote", h.platform, `{}`, 409, "CONFLICT"},
		{"shadowing what does not fit", misfit + "/shadow", h.platform, ``, 409, "CONFLICT"},
		{"promoting what is not there", absent + "/promote", h.platform, `{}`, 404, "NOT_FOUND"},
		{"shadowing what is not there", absent + "/shadow", h.platform, ``, 404, "NOT_FOUND"},
		{"retiring what is not there", absent + "/retire", h.platform, ``, 404, "NOT_FOUND"},
		{"a version that is none", "/api/v1/admin/models/x/retire", h.platform, ``, 422, "INVALID_REQUEST"},
		{"an expectation that fails", first + "/promote", h.platform, `{"expected_live_version": "0123456789abcdef"}`, 409, "CONFLICT"},
		{"rolling back from nothing", "/api/v1/admin/models/rollback", h.platform, `{}`, 409, "CONFLICT"},
		{"a customer promoting", first + "/promote", h.admin, `{}`, 403, "PERMISSION_DENIED"},
		{"a customer rolling back", "/api/v1/admin/models/rollback", h.admin, `{}`, 403, "PERMISSION_DENIED"},
		{"nobody retiring", first + "/retire", "", ``, 401, "UNAUTHENTICATED"},
	} {
		t.Run(r.name, func(t *testing.T) { requireError(t, h.call(t, "POST", r.path, r.key, r.body), r.status, r.code) })
	}
	requireError(t, h.call(t, "GET", "/api/v1/admin/models", h.admin, ""), 403, "PERMISSION_DENIED")
	requireError(t, h.call(t, "GET", "/api/v1/admin/models?page_size=501", h.platform, ""), 422, "INVALID_REQUEST")
	var kept int
	if err := h.db.Pool.QueryRow(t.Context(), "SELECT count(*) FROM models").Scan(&kept); err != nil || kept != 2 {
		t.Errorf("%d models are kept, %v: something that was refused is there", kept, err)
	}
}

type zeros struct{}

func (zeros) Read(into []byte) (int, error) { clear(into); return len(into), nil }

func TestAnUploadThatBreaksOffLeavesNothing(t *testing.T) {
	h := open(t, (&ml{}).serve(t), unlimited)
	for i := range 6 { // more than may be under way at once
		ctx, cancel := context.WithCancel(t.Context())
		reader, writer := io.Pipe()
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url+raw("first").path, reader)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/octet-stream")
		req.Header.Set("Authorization", "Bearer "+h.platform)
		done := make(chan error, 1)
		go func() {
			resp, err := http.DefaultClient.Do(req)
			if err == nil {
				_ = resp.Body.Close()
				err = fmt.Errorf("answered %d", resp.StatusCode)
			}
			done <- err
		}()
		if _, err := writer.Write([]byte("fir")); err != nil {
			t.Fatal(err)
		}
		cancel()
		_ = writer.CloseWithError(context.Canceled)
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("upload %d: %v", i, err)
		}
	}
	var got answer
	for range 50 { // the broken ones leave their places as central notices
		if got, _ = h.upload(t, h.platform, raw("first")); got.status != http.StatusTooManyRequests {
			break
		}
	}
	if got.status != http.StatusCreated {
		t.Errorf("%d %s: want it new, for nothing was kept", got.status, got.text)
	}
}

func TestWithoutMLModelsAreListedRolledBackAndRetiredButNotTaken(t *testing.T) {
	h := open(t, "127.0.0.1:1", unlimited)
	got, err := h.upload(t, h.platform, raw("first"))
	if err != nil {
		t.Fatal(err)
	}
	requireError(t, got, http.StatusServiceUnavailable, "UNAVAILABLE")
	for content, replaced := range map[string]string{"one": "", "two": "one"} {
		state := "live"
		if replaced == "" {
			state = "retired"
		}
		if _, err := h.db.Pool.Exec(t.Context(), `INSERT INTO models (model_version, name, kind, format, sha256, size_bytes, content, state, checked,
				schema_ok, created_by, promoted_at, retired_at)
			VALUES (left($1, 16), 'm', 'spot_interruption', 'cloudoptim', $1, 3, $2, $3::varchar, '{"features": ["age"], "trees": 10, "nodes": 70}', true,
				'test', now(), CASE WHEN $3::varchar = 'retired' THEN now() END)`, sum(content), []byte(content), state); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := h.db.Pool.Exec(t.Context(), "UPDATE models SET replaced_version = $1 WHERE state = 'live'", sum("one")[:16]); err != nil {
		t.Fatal(err)
	}
	h.visit(t, h.fill(), []request{
		{"list", "GET", "/api/v1/admin/models", h.platform, "", 200, `["<object>", "<object>"]`},
		{"roll back", "POST", "/api/v1/admin/models/rollback", h.platform, `{}`, 200, modelAnswer("one", "live")},
		{"retire", "POST", "/api/v1/admin/models/" + sum("one")[:16] + "/retire", h.platform, "", 200, modelAnswer("one", "retired")},
	})
	requireError(t, h.call(t, "POST", "/api/v1/admin/models/"+sum("two")[:16]+"/promote", h.platform, `{}`), http.StatusServiceUnavailable, "UNAVAILABLE")
}

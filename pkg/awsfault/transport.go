package awsfault

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// ErrLost is the connection that broke after the request was performed.
var ErrLost = errors.New("awsfault: the connection broke before the answer")

// Transport makes requests through next, which is http.DefaultTransport when nil,
// and has the faults happen to them.
func (r *Rules) Transport(next http.RoundTripper) http.RoundTripper {
	if next == nil {
		next = http.DefaultTransport
	}
	return &transport{rules: r, next: next}
}

type transport struct {
	rules *Rules
	next  http.RoundTripper
}

// RoundTrip makes one request.
func (t *transport) RoundTrip(request *http.Request) (*http.Response, error) {
	c, err := understand(request)
	if err != nil {
		return nil, err
	}
	if rule, yes := t.rules.strikes(Delay, c); yes {
		timer := time.NewTimer(rule.Delay)
		defer timer.Stop()
		select {
		case <-request.Context().Done():
			return nil, request.Context().Err()
		case <-timer.C:
		}
	}
	if refused := t.refusal(c); refused != nil {
		return refused, nil
	}
	response, err := t.perform(c)
	if err != nil {
		return nil, err
	}
	if _, yes := t.rules.strikes(LostResponse, c); yes {
		_, err := io.Copy(io.Discard, response.Body) // performed to the end
		return nil, errors.Join(ErrLost, err, response.Body.Close())
	}
	return response, nil
}

// refusal is the answer to what AWS is not even asked.
func (t *transport) refusal(c *call) *http.Response {
	query := c.json == nil
	code := func(sqs, ec2 string) string {
		if query {
			return ec2
		}
		return sqs
	}
	if _, yes := t.rules.strikes(Throttle, c); yes {
		return c.refuse(refusal{code("RequestThrottled", "RequestLimitExceeded"), "Request limit exceeded.", map[bool]int{true: 503, false: 400}[query]})
	}
	if _, yes := t.rules.strikes(AccessDenied, c); yes {
		return c.refuse(refusal{code("AccessDenied", "UnauthorizedOperation"), "You are not authorized to perform this operation.", 403})
	}
	if !query && c.queue != "" {
		if _, yes := t.rules.strikes(QueueGone, c); yes {
			return c.refuse(refusal{"QueueDoesNotExist", "The specified queue does not exist.", 400})
		}
	}
	if c.action == "RunInstances" {
		if _, yes := t.rules.strikes(NoCapacity, c); yes {
			return c.refuse(refusal{"InsufficientInstanceCapacity", "We currently do not have sufficient capacity for " + c.pool() + ".", 500})
		}
	}
	return nil
}

func (t *transport) perform(c *call) (*http.Response, error) {
	switch c.action {
	case "ReceiveMessage":
		return t.receive(c)
	case "DeleteMessage":
		if _, yes := t.rules.strikes(StaleReceipt, c); yes {
			return c.refuse(refusal{"ReceiptHandleIsInvalid", "The input receipt handle is stale.", 404}), nil
		}
	case "DeleteMessageBatch":
		return t.deleteBatch(c)
	}
	return t.next.RoundTrip(c.forward())
}

// exchange asks AWS and reads the answer, if it is one of success.
func (t *transport) exchange(c *call) (response *http.Response, out map[string]any, err error) {
	c.change()
	response, err = t.next.RoundTrip(c.forward())
	if err != nil || response.StatusCode != http.StatusOK {
		return response, nil, err
	}
	body, err := io.ReadAll(response.Body)
	if err = errors.Join(err, response.Body.Close()); err != nil {
		return nil, nil, fmt.Errorf("reading the answer: %w", err)
	}
	response.Body = io.NopCloser(bytes.NewReader(body))
	if err := json.Unmarshal(body, &out); err != nil {
		return nil, nil, fmt.Errorf("reading the answer: %w", err)
	}
	return response, out, nil
}

func say(c *call, header http.Header, out map[string]any) (*http.Response, error) {
	body, err := json.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("writing the answer: %w", err)
	}
	return answer(c.request, http.StatusOK, header, body), nil
}

// receive spoils what a queue delivers. A message that is kept for later is, to
// AWS, one that was received: it is delivered anew when its time is over, too.
func (t *transport) receive(c *call) (*http.Response, error) {
	most := 1
	if n, is := c.json["MaxNumberOfMessages"].(float64); is {
		most = int(n)
	}
	if t.rules.waiting(c.queue) {
		c.json["WaitTimeSeconds"] = 0 // what is kept is not to wait for more
	}
	response, out, err := t.exchange(c)
	if out == nil {
		return response, err
	}
	messages, _ := out["Messages"].([]any)
	old := t.rules.kept(c.queue, most-len(messages))
	var deliver []any
	for _, message := range messages {
		if _, yes := t.rules.strikes(Reorder, c); yes && len(messages) > 1 {
			t.rules.keep(c.queue, message)
			continue
		}
		deliver = append(deliver, message)
		if _, yes := t.rules.strikes(Duplicate, c); yes {
			t.rules.keep(c.queue, message)
		}
	}
	// Those that came along in vain leave room for twins within one answer.
	deliver = append(deliver, old...)
	deliver = append(deliver, t.rules.kept(c.queue, (most-len(deliver))/2)...)
	if len(old) > 0 || len(deliver) != len(messages) {
		t.rules.shuffle(deliver)
	}
	out["Messages"] = deliver
	return say(c, response.Header, out)
}

// deleteBatch has some of a batch fail, which is not passed on.
func (t *transport) deleteBatch(c *call) (*http.Response, error) {
	entries, _ := c.json["Entries"].([]any)
	var good, failed []any
	for _, entry := range entries {
		fields, is := entry.(map[string]any)
		if _, yes := t.rules.strikes(StaleReceipt, c); yes && is {
			failed = append(failed, map[string]any{
				"Id": fields["Id"], "SenderFault": true, "Code": "ReceiptHandleIsInvalid", "Message": "The input receipt handle is stale.",
			})
			continue
		}
		good = append(good, entry)
	}
	if len(failed) == 0 {
		return t.next.RoundTrip(c.forward())
	}
	if len(good) == 0 {
		return say(c, http.Header{"Content-Type": {"application/x-amz-json-1.0"}}, map[string]any{"Successful": []any{}, "Failed": failed})
	}
	c.json["Entries"] = good
	response, out, err := t.exchange(c)
	if out == nil {
		return response, err
	}
	others, _ := out["Failed"].([]any)
	out["Failed"] = append(others, failed...)
	return say(c, response.Header, out)
}

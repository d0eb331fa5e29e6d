package awsfault

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
)

// call is a request, understood: SQS speaks JSON 1.0, EC2 and STS the query protocol.
type call struct {
	request *http.Request
	body    []byte
	action  string
	json    map[string]any // nil in the query protocol
	form    url.Values
	queue   string
}

func understand(request *http.Request) (*call, error) {
	c := &call{request: request}
	if request.Body != nil {
		body, err := io.ReadAll(request.Body)
		if err != nil {
			return nil, fmt.Errorf("reading the request: %w", err)
		}
		_ = request.Body.Close()
		c.body = body
	}
	if _, action, found := strings.Cut(request.Header.Get("X-Amz-Target"), "."); found {
		c.action = action
		if err := json.Unmarshal(c.body, &c.json); err != nil {
			return nil, fmt.Errorf("reading the request: %w", err)
		}
		c.queue, _ = c.json["QueueUrl"].(string)
		return c, nil
	}
	if form, err := url.ParseQuery(string(c.body)); err == nil {
		c.form, c.action = form, form.Get("Action")
	}
	return c, nil
}

// forward is the request again, with the body as it is now.
func (c *call) forward() *http.Request {
	request := c.request.Clone(c.request.Context())
	request.Body = io.NopCloser(bytes.NewReader(c.body))
	request.ContentLength = int64(len(c.body))
	request.Header.Del("Content-Length")
	return request
}

// change rewrites the body. The signature does not fit any more, which moto does not mind.
func (c *call) change() {
	if body, err := json.Marshal(c.json); err == nil {
		c.body = body
	}
}

// meets says whether a rule is about the call.
func (l *live) meets(c *call) bool {
	return (l.Action == "" || l.Action == c.action) && strings.HasSuffix(c.queue, l.Queue) &&
		(l.Pool == "" || l.Fault == NoCapacity && meetsPool(l.Pool, c.pool()))
}

// pool is what RunInstances asks for, as Rule.Pool has it.
func (c *call) pool() string {
	place := c.form.Get("SubnetId")
	if place == "" {
		place = c.form.Get("NetworkInterface.1.SubnetId")
	}
	if place == "" {
		place = c.form.Get("Placement.AvailabilityZone")
	}
	market := c.form.Get("InstanceMarketOptions.MarketType")
	if market == "" {
		market = "on-demand"
	}
	return strings.Join([]string{c.form.Get("InstanceType"), place, market}, "/")
}

func meetsPool(pattern, pool string) bool {
	if pattern == "*" {
		return true
	}
	met, err := path.Match(pattern, pool)
	return err == nil && met
}

// refusal is an answer without AWS.
type refusal struct {
	code, message string
	status        int
}

// refuse says so in the protocol of the call.
func (c *call) refuse(r refusal) *http.Response {
	body, kind := c.xml(r), "text/xml"
	header := http.Header{}
	if c.json != nil {
		body, kind = fmt.Sprintf(`{"__type":"com.amazonaws.sqs#%s","message":%q}`, r.code, r.message), "application/x-amz-json-1.0"
		header.Set("X-Amzn-Query-Error", r.code+";Sender")
	}
	header.Set("Content-Type", kind)
	return answer(c.request, r.status, header, []byte(body))
}

// xml is EC2's error, or that of STS.
func (c *call) xml(r refusal) string {
	if c.action == "AssumeRole" {
		return fmt.Sprintf("<ErrorResponse><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error><RequestId>fault</RequestId></ErrorResponse>", r.code, r.message)
	}
	return fmt.Sprintf("<Response><Errors><Error><Code>%s</Code><Message>%s</Message></Error></Errors><RequestID>fault</RequestID></Response>", r.code, r.message)
}

func answer(request *http.Request, status int, header http.Header, body []byte) *http.Response {
	header.Set("Content-Length", strconv.Itoa(len(body)))
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: header, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)), Request: request,
	}
}

-- wrk cycles a file of signed webhooks: a signature, a tab and a body per line. Prints one line of JSON at its end.
local requests, place = {}, 0

function init(arguments)
  for line in io.lines(arguments[1]) do
    local signature, body = line:match("^([^\t]+)\t(.*)$")
    local headers = { ["X-Signature"] = signature, ["Content-Type"] = "application/json" }
    requests[#requests + 1] = wrk.format("POST", "/ring/webhook", headers, body)
  end
end

function request()
  place = place % #requests + 1
  return requests[place]
end

function done(summary, latency)
  local broken = summary.errors
  io.write(string.format('{"rate":%.1f,"refused":%d,"broken":%d,"p50":%.6f,"p99":%.6f}\n',
    summary.requests / summary.duration * 1e6, broken.status, broken.connect + broken.read + broken.write + broken.timeout,
    latency:percentile(50) / 1e6, latency:percentile(99) / 1e6))
end

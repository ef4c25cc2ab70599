-- For wrk: each line of a file is one user's header, "Name: value"; each request takes the next.
-- wrk ... --script users.lua URL -- FILE

local threads = {}

function setup(thread)
   table.insert(threads, thread)
end

function init(arguments)
   requests, turn, refused = {}, 0, 0
   for line in io.lines(arguments[1]) do
      local name, value = line:match("^(.-): (.*)$")
      table.insert(requests, wrk.format("GET", nil, { ["Host"] = wrk.headers["Host"], [name] = value }))
   end
end

function request()
   turn = turn % #requests + 1
   return requests[turn]
end

function response(status)
   if status ~= 200 then -- wrk itself takes a redirect to the sign-in for a success
      refused = refused + 1
   end
end

function done(summary, latency)
   local wrong = 0
   for _, count in pairs(summary.errors) do
      wrong = wrong + count
   end
   for _, thread in ipairs(threads) do
      wrong = wrong + thread:get("refused")
   end
   io.write(string.format(
      '\n{"answers": %d, "wrong": %d, "microseconds": %d, "p50": %d, "p99": %d}\n',
      summary.requests, wrong, summary.duration, latency:percentile(50), latency:percentile(99)
   ))
end

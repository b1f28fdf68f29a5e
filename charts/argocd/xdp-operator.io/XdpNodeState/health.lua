-- Health of an XdpNodeState for Argo CD: the NICs of the node, its policies, and all problems.

-- Reasons that pass within moments if all works: not a fault yet.
local transient = {
  Pending = true,
  PeersPending = true,
}

local function health(status, message)
  return {status = status, message = message}
end

if obj.status == nil then
  return health("Progressing", "the node's agent has not reported yet")
end

for _, nic in ipairs(obj.status.nics or {}) do
  if #(nic.problems or {}) > 0 then
    local problem = nic.problems[1]
    return health("Degraded", nic.name .. ": " .. problem.reason .. ": " .. problem.message)
  end
end
if #(obj.status.problems or {}) > 0 then
  local problem = obj.status.problems[1]
  return health("Degraded", problem.reason .. ": " .. problem.message)
end
if #(obj.status.pods or {}) > 0 then
  local pod = obj.status.pods[1]
  return health("Degraded", pod.namespace .. "/" .. pod.name .. ": " .. pod.reason .. ": " .. pod.message)
end

local waiting = nil
for _, policy in ipairs(obj.status.policies or {}) do
  local message = policy.namespace .. "/" .. policy.name .. ": " .. policy.reason .. ": " .. (policy.message or "")
  if not policy.programmed then
    if not transient[policy.reason] then
      return health("Degraded", message)
    end
    waiting = message
  end
end
if waiting ~= nil then
  return health("Progressing", waiting)
end
return health("Healthy", obj.status.summary.programmed .. " policies are programmed")

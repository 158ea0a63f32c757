create table private.burnt_tool_call_tokens (
  jti uuid primary key,
  expires_at timestamptz not null
);

comment on table private.burnt_tool_call_tokens is 'Tokens of tool calls that have been used, until they would have expired anyway.';

create index burnt_tool_call_tokens_expires_at_idx on private.burnt_tool_call_tokens (expires_at);

alter table private.burnt_tool_call_tokens enable row level security;
alter table private.burnt_tool_call_tokens force row level security;
revoke all on table private.burnt_tool_call_tokens from anon, authenticated, service_role;
grant select, insert, delete on table private.burnt_tool_call_tokens to service_role;

create function ai.burn_tool_call_token(jti uuid, expires_at timestamptz)
returns boolean
language plpgsql
set search_path = ''
as $$
begin
  if burn_tool_call_token.jti is null or burn_tool_call_token.expires_at is null then
    raise exception 'jti and expires_at are required' using errcode = '22004';
  end if;
  delete from private.burnt_tool_call_tokens where burnt_tool_call_tokens.expires_at <= now();
  -- Of a token that has expired nothing is remembered, so it must not be new.
  if burn_tool_call_token.expires_at <= now() then
    return false;
  end if;
  insert into private.burnt_tool_call_tokens (jti, expires_at)
  values (burn_tool_call_token.jti, burn_tool_call_token.expires_at)
  on conflict on constraint burnt_tool_call_tokens_pkey do nothing;
  return found;
end;
$$;

comment on function ai.burn_tool_call_token(uuid, timestamptz) is
  'Ledger: uses the token of a tool call up. True once for each jti; false for one that was used or has expired.';

revoke execute on function ai.burn_tool_call_token(uuid, timestamptz) from public, anon, authenticated, service_role;
grant execute on function ai.burn_tool_call_token(uuid, timestamptz) to service_role;

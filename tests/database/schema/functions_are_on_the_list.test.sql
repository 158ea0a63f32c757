-- Who may call what, function by function: a new one must be put on a list before anybody can use it.
begin;
select plan(11);

create view pg_temp.ours as
select
  pg_proc.oid, format('%s.%s', pg_namespace.nspname, pg_proc.proname) as name, pg_namespace.nspname as schema_name, pg_proc.prosecdef,
  pg_proc.proconfig, pg_proc.proacl, pg_proc.proowner
from pg_proc
join pg_namespace on pg_namespace.oid = pg_proc.pronamespace
where pg_namespace.nspname in ('public', 'ai', 'private')
  and not exists (select from pg_depend where pg_depend.objid = pg_proc.oid and pg_depend.deptype = 'e');

select set_eq(
  $$select name from pg_temp.ours where has_function_privilege('anon', oid, 'execute')$$,
  array['ai.check_request'],
  'anon may call nothing but what PostgREST calls for it'
);
select is_empty(
  $$
    select ours.name
    from pg_temp.ours
    cross join lateral aclexplode(coalesce(ours.proacl, acldefault('f', ours.proowner))) as entry
    where entry.grantee = 0
  $$,
  'nothing is executable by everybody'
);

select set_eq(
  $$select name from pg_temp.ours where schema_name <> 'private' and has_function_privilege('authenticated', oid, 'execute')$$,
  array[
    'ai.abandon_upload', 'ai.add_source_to_knowledge_base', 'ai.cancel_extraction', 'ai.cancel_indexing', 'ai.check_request', 'ai.complete_upload',
    'ai.drifted_sources', 'ai.graph_neighbours', 'ai.reextract_source', 'ai.register_source', 'ai.retry_source', 'ai.search',
    'ai.discard_embedding_model', 'ai.reembed_knowledge_base', 'ai.reembed_memories', 'ai.reembedding_progress', 'ai.search_memories',
    'ai.search_models', 'ai.outline_sources', 'ai.sections', 'ai.switch_embedding_model', 'ai.start_run', 'ai.cancel_run', 'ai.decide_interrupted_call', 'public.accept_invitation', 'public.begin_chat_turn', 'public.create_tenant',
    'ai.delete_budget', 'ai.set_budget', 'ai.usage_by_day',
    'ai.delete_enrichment', 'ai.enrichment_state', 'ai.items_to_enrich', 'ai.run_enrichment', 'ai.set_enrichment',
    'ai.budget_state', 'ai.person_access', 'ai.source_access', 'ai.source_deletion', 'public.my_invitations', 'public.people',
    'ai.create_session', 'ai.approvals_to_decide', 'ai.decide_approval', 'ai.describe_tables', 'ai.tool_configs', 'ai.verify_audit'
  ],
  'exposed functions that people may call'
);
select set_eq(
  $$select name from pg_temp.ours where schema_name = 'private' and has_function_privilege('authenticated', oid, 'execute')$$,
  array[
    'private.abandon_upload', 'private.accept_invitation', 'private.acting_tenant_id', 'private.add_source_to_knowledge_base',
    'private.begin_chat_turn', 'private.caller_backend_tenant_ids', 'private.caller_principal_ids', 'private.caller_segment_ids',
    'private.caller_tenant_ids', 'private.caller_user_id', 'private.complete_upload', 'private.create_tenant',
    'private.may_change_agent', 'private.may_claim_source', 'private.raise_error', 'private.reextract_source', 'private.register_source', 'private.retry_source',
    'private.cancel_extraction', 'private.cancel_indexing',
    'private.indexing_setting', 'private.indexing_settings', 'private.role_rank', 'private.start_run', 'private.cancel_run', 'private.decide_interrupted_call', 'private.tenant_narrowing',
    'private.delete_budget', 'private.set_budget',
    'private.delete_enrichment', 'private.run_enrichment', 'private.set_enrichment',
    'private.access_reasons', 'private.budget_state', 'private.check_source_policies', 'private.my_invitations', 'private.people',
    'private.discard_embedding_model', 'private.may_change_knowledge_base', 'private.memory_distance', 'private.reembed_knowledge_base',
    'private.reembed_memories', 'private.switch_embedding_model',
    'private.is_cron', 'private.has_plain_numbers',
    'private.agents_that_send_out', 'private.create_session', 'private.decide_approval', 'private.is_approval_rule', 'private.is_decider', 'private.is_tool_permissions', 'private.may_decide_approval', 'private.sends_data_out', 'private.tool_configs', 'private.url_origin', 'private.verify_audit',
    -- the parts of ai.search
    'private.caller_search_scope', 'private.caller_tenants', 'private.check_search', 'private.chunk_policies_are_shipped', 'private.explain_hit', 'private.find_items', 'private.fuse_legs',
    'private.identified_items', 'private.identifiers_of', 'private.lexemes_of', 'private.matching_items', 'private.merge_legs',
    'private.nearest_in_graph', 'private.nearest_in_segments', 'private.nearest_items', 'private.nearest_wanted_items', 'private.parse_query', 'private.rank_by_16_words', 'private.rank_by_6_words', 'private.rank_near_items',
    'private.search_among_visible_chunks', 'private.search_keys', 'private.search_terms', 'private.shortened',
    'private.space_bigrams', 'private.term_query', 'private.unit_vector', 'private.wanted_items', 'private.weigh_terms', 'private.words_of'
  ],
  'what these and the policies call on people''s behalf'
);
select set_eq(
  $$select name from pg_temp.ours where schema_name <> 'private' and has_function_privilege('service_role', oid, 'execute')$$,
  array[
    'ai.check_request', 'ai.claim_extraction', 'ai.claim_indexing', 'ai.claim_object_removal', 'ai.due_ingestion', 'ai.enqueue',
    'ai.fail_extraction', 'ai.fail_indexing', 'ai.finish_chat_turn', 'ai.finish_extraction', 'ai.finish_indexing',
    'ai.finish_object_removal', 'ai.finish_run', 'ai.mark_dead_letter', 'ai.read_pages', 'ai.read_staged_chunks', 'ai.read_staged_meta', 'ai.renew_lease',
    'ai.claim_memory', 'ai.claim_reembedding', 'ai.due_search_maintenance', 'ai.fail_reembedding', 'ai.finish_reembedding',
    'ai.read_unembedded', 'ai.store_memory_vector', 'ai.store_reembedded',
    'ai.claim_enrichment', 'ai.delegate_enrichment', 'ai.due_enrichments', 'ai.fail_enrichment', 'ai.finish_enrichment', 'ai.mark_dead_enrichment',
    'ai.claim_page_rendering', 'ai.due_page_renderings', 'ai.fail_page_rendering', 'ai.finish_page_rendering', 'ai.mark_dead_page_rendering', 'ai.renew_page_rendering_lease',
    'ai.renew_enrichment_lease', 'ai.reserve_enrichment_tokens', 'ai.store_enrichment_result', 'ai.yield_enrichment',
    'ai.remove_stale_uploads', 'ai.remove_expired_answers', 'ai.append_run_events', 'ai.beat_run', 'ai.claim_run', 'ai.due_runs', 'ai.suspend_run', 'ai.sweep_run_log', 'ai.resolve_service_tenant', 'ai.save_source_pages', 'ai.stage_chunks',
    'ai.begin_request', 'ai.finish_request', 'ai.reserve_tokens', 'ai.settle_tokens', 'ai.reserve_indexing_tokens', 'ai.reserve_search_tokens', 'ai.record_usage', 'ai.close_expired_searches', 'ai.take_requests',
    'ai.due_schedule', 'ai.due_schedules', 'ai.queue_due_sweeps', 'ai.run_sweep', 'ai.note_failed_sweep', 'ai.sweep_health', 'ai.fire_due_schedule', 'ai.plan_schedule', 'ai.queue_health', 'ai.queue_limits', 'ai.queue_tenants', 'ai.redrive_dead_letters', 'ai.tidy_run_jobs', 'ai.take_jobs', 'ai.beat_jobs', 'ai.finish_job',
    'ai.approval_outcome', 'ai.burn_tool_call_token', 'ai.delegate_run', 'ai.expire_approvals', 'ai.mcp_server_secrets', 'ai.record_run_trace', 'ai.request_approval', 'ai.run_configuration', 'ai.verify_audit'
  ],
  'the ledger'
);
select set_eq(
  $$select name from pg_temp.ours where schema_name = 'private' and has_function_privilege('service_role', oid, 'execute')$$,
  array[
    'private.acting_tenant_id', 'private.begin_vector_graph', 'private.caller_backend_tenant_ids', 'private.caller_principal_ids',
    'private.apply_embedding_model', 'private.catch_up_vector_graph', 'private.embedded_text', 'private.hold_embedding_model',
    'private.holds_reembedding_lease', 'private.items_without_vector', 'private.move_misplaced_chunks', 'private.remove_empty_segments',
    'private.caller_segment_ids', 'private.caller_tenant_ids', 'private.caller_tenants', 'private.caller_user_id', 'private.drop_vector_graphs',
    'private.due_vector_graphs', 'private.enqueue', 'private.fill_vector_graph', 'private.finish_vector_graph', 'private.live_jobs',
    'private.move_chunks', 'private.retire_vector_graph', 'private.search_terms', 'private.store_vectors', 'private.unit_vector', 'private.holds_indexing_lease', 'private.index_job',
    'private.budget_period_start', 'private.budget_renews_at', 'private.budgets_of', 'private.check_budget', 'private.close_reservations',
    'private.open_budget_counters', 'private.tokens_used', 'private.hold_tokens', 'private.try_hold_tokens', 'private.reserve_run_tokens', 'private.lock_budget_counters', 'private.check_spender', 'private.person_of',
    'private.holds_enrichment_lease', 'private.is_enrichment_fields', 'private.live_enrichment_jobs',
    'private.listed_page_images', 'private.live_rendering_jobs', 'private.note_failed_page_images', 'private.page_image_path', 'private.queue_object_removal',
    'private.remove_unlisted_page_images', 'private.indexing_setting', 'private.reads_page_images', 'private.request_page_images', 'private.waits_for_page_images',
    'private.is_approval_rule', 'private.is_tool_permissions', 'private.run_is_still_waiting',
    'private.claim_run', 'private.end_run', 'private.event_time', 'private.hold_chats_of_runs', 'private.read_run_trace', 'private.write_tool_calls', 'private.run_stop', 'private.wake_run', 'private.write_run_events', 'private.write_run_journal',
    'private.is_interrupted_call', 'private.last_event', 'private.last_begun_step',
    'private.fire_due_schedule', 'private.queue_due_sweeps', 'private.run_sweep', 'private.note_failed_sweep', 'private.sweep_health', 'private.is_cron', 'private.queue_health', 'private.queue_limits', 'private.queue_tenants', 'private.redrive_dead_letters', 'private.tidy_run_jobs', 'private.take_jobs', 'private.beat_jobs', 'private.finish_job',
    'private.has_plain_numbers', 'private.is_member', 'private.raise_error', 'private.role_rank', 'private.tenant_narrowing', 'private.tenant_of', 'private.url_origin',
    'private.record_audit', 'private.stage_audit', 'private.verify_audit'
  ],
  'what the ledger calls'
);
select set_eq(
  $$select name from pg_temp.ours where has_function_privilege('supabase_auth_admin', oid, 'execute')$$,
  array['private.only_tenant_of', 'public.custom_access_token_hook'],
  'what the auth server may call'
);

select is_empty(
  $$select name from pg_temp.ours where not coalesce(proconfig @> array['search_path=""'], false)$$,
  'every function pins an empty search_path'
);
select is_empty($$select name from pg_temp.ours where prosecdef and schema_name <> 'private'$$, 'definer functions live in private');
select is_empty($$select name from pg_temp.ours where obj_description(oid, 'pg_proc') is null$$, 'every function has a comment');

create function ai.newcomer() returns int language sql as 'select 1';
select set_eq(
  $$select name from pg_temp.ours where name = 'ai.newcomer' and has_function_privilege('anon', oid, 'execute')$$,
  array['ai.newcomer'],
  'a function nobody has revoked is noticed'
);

select * from finish();
rollback;

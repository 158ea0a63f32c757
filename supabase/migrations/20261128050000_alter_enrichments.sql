-- use_multimodal has an effect now: the worker reads it. What it is said to be was wrong since.
comment on column ai.enrichments.use_multimodal is 'Whether the model is shown images of the first pages beside the text, where there are any.';

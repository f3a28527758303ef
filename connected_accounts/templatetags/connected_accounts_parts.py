"""``{% load connected_accounts_parts %}``: the small templates of which a page has many alike."""

from typing import Any

from django import template
from django.utils.safestring import SafeString

register = template.Library()


@register.simple_tag(takes_context=True)
def part(context: template.Context, name: str, **values: Any) -> SafeString:
    """As ``include``, for a template that depends on ``values`` alone, which are hashable: the same
    values are rendered once for a page, however often they come."""
    # Where ``include`` keeps the templates that it has found, too.
    kept: dict[Any, Any] = context.render_context.dicts[0]
    rendered = kept.setdefault(part, {})
    key = (name, *values.items())
    if key not in rendered:
        found = context.template.engine.get_template(name)  # type: ignore[union-attr]
        rendered[key] = found.render(context.new(values))
    return rendered[key]  # type: ignore[no-any-return]

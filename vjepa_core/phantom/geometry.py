"""Anatomy at end-diastole in millimetres, in coordinates of the heart.

`u` is the coordinate across the left ventricle, negative on the left of the image (septum or inferior wall).
`s` is the coordinate along its long axis from the endocardial apex (0) and the mitral annulus (`length`) to
the roof of the atrium. Half-widths on both sides are functions of `s`. All sizes are design choices in a
plausible adult range.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from vjepa_core.phantom.draw import RandomValues

A4C, A2C = 0, 1
VIEWS = ("A4C", "A2C")
_DISKS = 96


@dataclass(frozen=True)
class Sides:
    """Values for the left (u < 0) and right side of the heart, each (B, 1, 1, 1)."""

    left: Tensor
    right: Tensor

    def at(self, is_right: Tensor) -> Tensor:
        """Return the value of the side of each pixel."""
        return torch.where(is_right, self.right, self.left)


@dataclass(frozen=True)
class Heart:
    """B hearts; every tensor has the shape (B, 1, 1, 1), lengths in mm, angles in radians.

    Attributes
    ----------
    view : Tensor
        0 A4C, 1 A2C.
    length : Tensor
        Length of the left ventricle from apex to annulus at end-diastole.
    width : Sides
        Maximum half-widths of the left ventricle at end-diastole.
    power, widest, narrowing : Tensor
        Shape of the profile: exponent of the apical superellipse, position of the maximum width (fraction of
        the length), relative narrowing of the base.
    bow : Sides
        Relative widening of the apical half and narrowing of the basal half of each side.
    wall : Sides
        Thickness of the lateral walls.
    apex_wall : Tensor
        Thickness of the wall at the apex.
    atrium_length, atrium_width, atrium_power : Tensor
        Left atrium: length, half-width, exponent of the roof.
    shortening : Tensor
        Fraction of the length lost at end-systole.
    squeeze : Sides
        Relative radial contraction at end-systole.
    gradient : Tensor
        Change of the radial contraction from apex to base.
    atrium_swell : Tensor
        Relative widening of the atrium at end-systole.
    rv_width, rv_top, rv_wall : Tensor
        Right ventricle in A4C: width at the base, start (fraction of the length), thickness of the wall.
    apex_x, apex_z, tilt, bend, annulus_tilt, swing, drift : Tensor
        Position: apex in scanner coordinates, angle of the long axis, its bend at the base (mm), slope of the
        mitral plane, rotation with contraction, shift with respiration (mm).
    edv, esv : Tensor
        Volumes in ml.
    """

    view: Tensor
    length: Tensor
    width: Sides
    power: Tensor
    widest: Tensor
    narrowing: Tensor
    bow: Sides
    wall: Sides
    apex_wall: Tensor
    atrium_length: Tensor
    atrium_width: Tensor
    atrium_power: Tensor
    shortening: Tensor
    squeeze: Sides
    gradient: Tensor
    atrium_swell: Tensor
    rv_width: Tensor
    rv_top: Tensor
    rv_wall: Tensor
    apex_x: Tensor
    apex_z: Tensor
    tilt: Tensor
    bend: Tensor
    annulus_tilt: Tensor
    swing: Tensor
    drift: Tensor
    edv: Tensor
    esv: Tensor

    def profile(self, share: Tensor, bow: Tensor) -> Tensor:
        """Compute the relative half-width at a fraction of the length.

        The profile is a superellipse up to the maximum width, then a parabola. It is 0 above the apex and
        constant beyond the base.
        """
        share = share.clamp(0.0, 1.0)
        up = (1.0 - share / self.widest).clamp(0.0, 1.0)
        apical = (1.0 - up**self.power).clamp(min=1e-6) ** (1.0 / self.power)
        down = ((share - self.widest) / (1.0 - self.widest)).clamp(min=0.0)
        uneven = 1.0 + bow * torch.sin(2.0 * math.pi * share)
        return torch.where(share > 0, apical, 0.0) * (1.0 - self.narrowing * down * down) * uneven

    def endocardium(self, s: Tensor, is_right: Tensor) -> Tensor:
        """Compute the half-width of the cavity of ventricle (s <= length) or atrium (s > length) in mm."""
        width = self.width.at(is_right)
        annulus = width * (1.0 - self.narrowing)
        share = ((s - self.length) / self.atrium_length).clamp(0.0, 1.0)
        bulge = annulus + (self.atrium_width - annulus) * (4.0 * share * (1.0 - share)).clamp(min=0.0) ** 0.8
        atrium = bulge * (1.0 - share**self.atrium_power).clamp(min=0.0) ** (1.0 / self.atrium_power)
        return torch.where(
            s <= self.length, width * self.profile(s / self.length, self.bow.at(is_right)), atrium
        )

    def epicardium(self, s: Tensor, is_right: Tensor) -> Tensor:
        """Compute the half-width to the outside of the wall of ventricle or atrium in mm."""
        width, wall = self.width.at(is_right), self.wall.at(is_right)
        share = (s + self.apex_wall) / (self.length + self.apex_wall)
        ventricle = (width + wall) * self.profile(share, self.bow.at(is_right))
        return torch.where(s <= self.length, ventricle, self.endocardium(s, is_right) + ATRIAL_WALL)

    def strength(self, s: Tensor) -> Tensor:
        """Compute the relative contraction along the axis, which is lower at the stiff annulus."""
        share = (s / self.length).clamp(0.0, 1.0)
        return (1.0 + self.gradient * (share - 0.5)) * (1.0 - 0.4 * share**4)

    def volume(self, contraction: Tensor, other: Heart | None = None) -> Tensor:
        """Compute the volume of the ventricle in ml, pi/4 sum(D1 D2) h.

        The body has elliptical cross-sections perpendicular to the long axis, with the diameters D1 of this
        view and D2 of the other one. Bend and slope of the image shear it: they keep this volume, the slope
        up to the second order.

        Parameters
        ----------
        contraction : Tensor
            Contraction 0..1, shape (B, T, 1, 1).
        other : Heart, optional
            The same hearts in the other view, see `vjepa_core.phantom.pairs`; default: circular sections.
        """
        s, h = _disks(self.length)
        one, two = (_diameter(view, s) - contraction * _squeezed(view, s) for view in (self, other or self))
        volume = math.pi / 4.0 * (one * two).sum(-1, keepdim=True) * h
        return volume * (1.0 - self.shortening * contraction) / 1000.0


ATRIAL_WALL = 2.5
"""Thickness of the atrial wall in mm."""


def draw_heart(draw: RandomValues, view: int | None = None) -> Heart:
    """Draw random hearts of one view, or of random views with equal probability."""
    u, normal = draw.uniform, draw.normal
    is_2 = (
        draw.chance(0.5) if view is None else torch.full((draw.n, 1, 1, 1), float(view), device=draw.device)
    )
    dilated = draw.chance(0.25)
    foreshortened = 1.0 - draw.chance(0.25) * u(0.05, 0.2)
    length = (normal(86.0, 8.0, 66.0, 108.0) + 6.0 * dilated) * foreshortened
    breadth = length * normal(0.52, 0.06, 0.4, 0.68) * (1.0 + 0.18 * dilated) / foreshortened**0.5
    left = u(0.44, 0.56)
    wall = normal(14.0, 3.5, 7.5, 24.0)
    narrowing = u(0.08, 0.36)
    atrium_length = normal(41.0, 9.0, 22.0, 66.0)
    width = Sides(breadth * left, breadth * (1.0 - left))
    healthy = draw.chance(0.65) * (1.0 - dilated)
    ef = torch.where(healthy > 0, normal(0.61, 0.06, 0.5, 0.77), u(0.14, 0.56))
    shortening = (0.17 * ef / 0.6 * u(0.75, 1.25)).clamp(max=0.24)
    asynergy = draw.chance(0.25)  # one side contracts less
    relative = Sides(1.0 - 0.6 * asynergy * u(0.0, 1.0), 1.0 - 0.6 * asynergy * u(0.0, 1.0))
    apex_wall = wall * u(0.5, 0.95)
    zero = torch.zeros_like(length)
    heart = Heart(
        view=is_2,
        length=length,
        width=width,
        power=u(1.8, 2.5),
        widest=u(0.5, 0.74),
        narrowing=narrowing,
        bow=Sides(u(-0.12, 0.1), u(-0.1, 0.12)),
        wall=Sides(wall * u(0.9, 1.2), wall * u(0.85, 1.1)),
        apex_wall=apex_wall,
        atrium_length=atrium_length,
        atrium_width=(atrium_length * u(0.32, 0.52)).clamp(min=11.0),
        atrium_power=u(2.2, 3.5),
        shortening=shortening,
        squeeze=relative,
        gradient=u(-0.5, 0.3),
        atrium_swell=0.05 + 0.35 * ef * u(0.4, 1.2),
        rv_width=u(18.0, 38.0),
        rv_top=u(0.05, 0.4),
        rv_wall=u(3.0, 5.5),
        apex_x=u(-12.0, 10.0),
        # A wide heart is farther from the probe, so that it fits into the sector.
        apex_z=apex_wall + normal(15.0, 6.0, 4.0, 34.0) + (0.3 * (breadth - 46.0)).clamp(-4.0, 10.0),
        tilt=normal(0.07, 0.09, -0.16, 0.28),
        bend=normal(0.0, 2.5, -6.0, 6.0),
        annulus_tilt=normal(0.0, 0.1, -0.22, 0.22),
        swing=normal(0.0, 0.02, -0.05, 0.05),
        drift=u(0.0, 2.5),
        edv=zero,
        esv=zero,
    )
    return _with_ejection(heart, ef)


def _disks(length: Tensor) -> tuple[Tensor, Tensor]:
    """Return centres (B, 1, 1, disks) and height of the disks between apex and annulus in mm."""
    share = (torch.arange(_DISKS, device=length.device) + 0.5) / _DISKS
    return share * length, length / _DISKS


def _halves(heart: Heart, s: Tensor) -> Sides:
    share = s / heart.length
    return Sides(
        heart.width.left * heart.profile(share, heart.bow.left),
        heart.width.right * heart.profile(share, heart.bow.right),
    )


def _diameter(heart: Heart, s: Tensor) -> Tensor:
    halves = _halves(heart, s)
    return halves.left + halves.right


def _squeezed(heart: Heart, s: Tensor) -> Tensor:
    """Return the reduction of the diameter at full contraction in mm."""
    halves = _halves(heart, s)
    return (halves.left * heart.squeeze.left + halves.right * heart.squeeze.right) * heart.strength(s)


def _with_ejection(heart: Heart, ef: Tensor) -> Heart:
    """Scale the radial contraction so that disk summation gives the ejection fraction `ef` exactly.

    With diameters D - a G and length (1 - e) L,
    sum((D - a G)^2) (1 - e) = (1 - ef) sum(D^2) is quadratic in a.
    """
    s, _ = _disks(heart.length)
    d, g = _diameter(heart, s), _squeezed(heart, s)
    dd, dg, gg = ((x * y).sum(-1, keepdim=True) for x, y in ((d, d), (d, g), (g, g)))
    rest = dd * (1.0 - (1.0 - ef) / (1.0 - heart.shortening))
    a = (dg - (dg * dg - gg * rest).clamp(min=0.0).sqrt()) / gg
    squeeze = Sides(heart.squeeze.left * a, heart.squeeze.right * a)
    fields = {**heart.__dict__, "squeeze": squeeze}
    heart = Heart(**fields)
    one = torch.ones_like(ef)
    return Heart(**{**fields, "edv": heart.volume(0.0 * one), "esv": heart.volume(one)})
